"""The recipe that a network is trained by where none is named, and what a recipe is made for."""

from typing import Any

from diptych import zoo
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe

TUNED, ANY = "fast", "plain"
"""The default of the networks and data that it is made for, and the default of all others."""


def default_recipe(network: Network, data: str) -> Recipe:
    """The recipe for a network on that data: the network's own, else `TUNED` where it is made for
    both, else `ANY`.

    Args:
        data: the source of the data: the name of a data set, or a folder.

    Raises:
        InputError: the network names a recipe that does not exist.
    """
    if network.recipe:
        return Recipe.load(network.recipe)
    tuned = Recipe.load(TUNED)
    return tuned if is_made_for(tuned, network, data) else Recipe.load(ANY)


def is_made_for(recipe: Recipe, network: Network, data: str) -> bool:
    """Returns True if the recipe is made for any network, or for this one on this data.

    A network counts as one of the zoo if it has the same layers, whatever they are called.

    Raises:
        InputError: the recipe names data that do not exist.
    """
    if recipe.made_for is None:
        return True
    _check_data_names(recipe)
    return data in recipe.made_for.data and any(
        _layers(network) == _layers(Network.load(name)) for name in recipe.made_for.networks
    )


def mismatch(recipe: Recipe, network: Network, data: str) -> str | None:
    """One line where the recipe is tuned to other networks or data than these, else None.

    Args:
        data: as `default_recipe` takes it.
    """
    if recipe.made_for is None or is_made_for(recipe, network, data):
        return None
    return (
        f"recipe {recipe.name} is made for networks {', '.join(recipe.made_for.networks)} on data "
        f"{', '.join(recipe.made_for.data)}, not for {network.name} on {data}; "
        f"recipe {ANY} is for any network"
    )


def _check_data_names(recipe: Recipe) -> None:
    from diptych.data import known_data

    assert recipe.made_for
    known = [data.name for data in known_data()]
    for name in recipe.made_for.data:
        if name not in known:
            raise InputError(
                f"recipe {recipe.name}: made_for.data: no data set {name!r} "
                f"({zoo.hint(name, known)})"
            )


def _layers(network: Network) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """The architecture alone: the input shape and the layers without their names."""
    layers = [layer.model_dump(exclude={"name"}) for layer in network.layers]
    return network.input_shape, layers
