"""Networks and recipes: the layers of a network, the values of a recipe, the lists of the zoo."""

from rich.console import Group, RenderableType

from diptych.network import Network
from diptych.recipe import Recipe
from diptych.render.terminal import table, words


def network_summary(network: Network) -> RenderableType:
    """The article's table of layers, with a column of multiply-adds."""
    rows = table("Layer (kind)", "Output shape", "Parameters", "Multiply-adds", left=2)
    for row in network.summary():
        rows.add_row(
            f"{row.name} ({row.kind})",
            str(row.output_shape),
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
        )
    total, trained = network.parameters, network.trained_parameters
    work = sum(row.multiply_adds for row in network.summary())
    height, width, channels = network.input_shape
    return Group(
        f"Network {network.name}: {height}×{width}×{channels} images, {network.classes} classes",
        *([network.description] if network.description else []),
        "",
        rows,
        "",
        f"Total parameters: {total:,}",
        f"Trained parameters: {trained:,}",
        f"Other parameters: {total - trained:,}",
        f"Multiply-adds per image: {work:,}",
    )


def recipe_values(recipe: Recipe) -> RenderableType:
    """The values of a recipe, and the default of those that differ from it."""
    rows = table("Key", "Value", "Default", left=3)
    for key, field in Recipe.model_fields.items():
        value = getattr(recipe, key)
        if key not in ("name", "description"):
            rows.add_row(key, str(value), "" if value == field.default else str(field.default))
    return Group(
        f"Recipe {recipe.name}", *([recipe.description] if recipe.description else []), "", rows
    )


def zoo_list(networks: list[Network], recipes: list[Recipe]) -> RenderableType:
    """One row per network and one per recipe."""
    shown = table("Network", "Parameters", "Description", left=1)
    words(shown, 2)
    for network in networks:
        shown.add_row(network.name, f"{network.parameters:,}", network.description)
    below = table("Recipe", "Epochs", "Description", left=1)
    words(below, 2)
    for recipe in recipes:
        below.add_row(recipe.name, str(recipe.epochs), recipe.description)
    return Group(shown, "", below)
