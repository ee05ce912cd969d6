"""The trainings of a comparison: every combination of workflows, networks, recipes and data."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from diptych import training
from diptych.data import Data, load_data
from diptych.defaults import ANY, default_recipe
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows import registry

DEFAULT_WORKFLOWS = ("tensorflow", "keras")
"""The workflows that are compared by default. If something else is compared, only the first of them
trains."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Variant:
    """A training without its seed, whose parts are known to fit each other."""

    workflow: str
    network: Network
    recipe: Recipe
    data: Data


def variants(
    workflow_names: Sequence[str] | None,
    networks: Network | str | Sequence[Network | str],
    recipes: Recipe | str | Sequence[Recipe | str] | None,
    data: Data | str | Sequence[Data | str],
    values: Mapping[str, Sequence[Any]] | None,
    adapt: bool,
) -> list[Variant]:
    """Every combination, the workflows of one network, recipe and data beside each other.

    Where no recipe is given, the networks that do not name one of their own are all trained by the
    same: by their default if that is the same for all, else by the recipe for any network.

    Args:
        values: other values for the recipes' keys; every combination of them is trained.
        workflow_names, networks, recipes, data, adapt: as `diptych.compare` takes them.

    Raises:
        InputError: a name is unknown or given twice, or a combination cannot be trained.
    """
    values = {key: list(several) for key, several in (values or {}).items()}
    loaded_networks = [_network(one) for one in _distinct("network", networks)]
    loaded_data = [_data(one) for one in _distinct("data", data)]
    loaded_recipes = _recipes(recipes, loaded_networks, loaded_data)
    combinations = [
        dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())
    ]
    fitted = [
        (*training.fitted(network, recipe, of, adapt), of)
        for of in loaded_data
        for network in loaded_networks
        for recipe in (
            base.with_changes(**chosen) if chosen else base
            for base in loaded_recipes[id(network), id(of)]
            for chosen in combinations
        )
    ]
    if workflow_names is None:
        workflow_names = DEFAULT_WORKFLOWS[: 1 if len(fitted) > 1 else None]
    names = registry.chosen(_distinct("workflow", workflow_names))
    _distinct("workflow", names)  # Two names may stand for the same one.
    return [Variant(name, network, recipe, of) for network, recipe, of in fitted for name in names]


def _recipes(
    recipes: Recipe | str | Sequence[Recipe | str] | None,
    networks: list[Network],
    data: list[Data],
) -> dict[tuple[int, int], list[Recipe]]:
    """The recipes of each network on each data, by their ids, before any value is changed."""
    keys = [(network, of) for network in networks for of in data]
    if recipes is not None:
        loaded = [_recipe(one) for one in _distinct("recipe", recipes)]
        return {(id(network), id(of)): loaded for network, of in keys}
    defaults = {(id(network), id(of)): default_recipe(network, of.source) for network, of in keys}
    free = {(id(network), id(of)) for network, of in keys if not network.recipe}
    if len({defaults[key].name for key in free}) > 1:
        defaults |= dict.fromkeys(free, Recipe.load(ANY))
    return {key: [recipe] for key, recipe in defaults.items()}


def _distinct(what: str, given: Item | Sequence[Item]) -> list[Item]:
    """One or several things as a list.

    Raises:
        InputError: there are none, or one is there twice.
    """
    one = isinstance(given, str | Network | Recipe) or not isinstance(given, Iterable)
    several: Any = [given] if one else given
    items: list[Any] = list(several)
    names = [item if isinstance(item, str) else getattr(item, "name", str(item)) for item in items]
    if not names:
        raise InputError(f"{what}: expected one or more, given none")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"{what} {', '.join(names)}: expected different ones")
    return items


def _network(given: Network | str) -> Network:
    return given if isinstance(given, Network) else Network.load(given)


def _recipe(given: Recipe | str) -> Recipe:
    return given if isinstance(given, Recipe) else Recipe.load(given)


def _data(given: Data | str) -> Data:
    return given if isinstance(given, Data) else load_data(given)
