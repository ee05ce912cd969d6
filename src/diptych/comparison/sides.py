"""Which runs belong together, and what the sides of a comparison differ in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diptych import changes
from diptych.recipe import Recipe
from diptych.runs import Run


@dataclass(frozen=True)
class Group:
    """A side before it is measured: its name, and its runs by seed."""

    name: str
    runs: dict[int, Run]

    @property
    def first(self) -> Run:
        """The run of the first seed."""
        return next(iter(self.runs.values()))


@dataclass(frozen=True)
class Grouping:
    """The sides, and what they differ in and have in common."""

    groups: list[Group]
    differs: dict[str, list[str]]
    alike: dict[str, str]


def grouped(runs: Sequence[Run]) -> Grouping:
    """Puts the runs that differ in their seeds alone together.

    Where all of them do, or where a seed is there twice, each run is a side of its own.
    """
    descriptions = {run.folder: run.description() for run in runs}
    by_setting: dict[str, list[Run]] = {}
    for run in runs:
        by_setting.setdefault(setting(descriptions[run.folder]), []).append(run)
    lists = list(by_setting.values())
    seeds = [[run.seed for run in members] for members in lists]
    repeated = any(len(set(of)) < len(of) for of in seeds)
    single = len(lists) == 1
    if single or repeated:
        lists = [
            part
            for members, of in zip(lists, seeds, strict=True)
            for part in (
                [[run] for run in members] if single or len(set(of)) < len(of) else [members]
            )
        ]
    first = [descriptions[members[0].folder] for members in lists]
    values = _values(first)
    values["seeds"] = [_numbers([run.seed for run in members]) for members in lists]
    if repeated:
        values["run"] = [members[0].name for members in lists]
    differs = {aspect: of for aspect, of in values.items() if len(set(of)) > 1}
    alike = {aspect: of[0] for aspect, of in values.items() if aspect not in differs}
    names = _names(differs, lists, single)
    groups = [
        Group(name, {run.seed: run for run in members})
        for name, members in zip(names, lists, strict=True)
    ]
    return Grouping(groups, differs, alike)


def setting(description: dict[str, Any]) -> str:
    """All that decides what a training computes, apart from its seed."""
    network, recipe = description["network"], description["recipe"]
    aside = ("name", "description", "made_for")
    return json.dumps(
        [
            description["workflow"],
            {key: value for key, value in network.items() if key not in ("description", "recipe")},
            {key: value for key, value in recipe.items() if key not in aside},
            description["data"]["fingerprint"],
            description.get("imported"),
        ],
        sort_keys=True,
    )


def _values(descriptions: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Workflow, network, recipe and data of each side, with a number where names are the same."""
    networks = [
        (one["network"]["name"], json.dumps(one["network"]["layers"])) for one in descriptions
    ]
    sizes = [f"{one['network']['input_shape']}" for one in descriptions]
    data = [
        (one["data"]["name"], one["data"]["source"], one["data"]["fingerprint"])
        for one in descriptions
    ]
    return {
        "workflow": [one["workflow"] for one in descriptions],
        "network": _told_apart(
            [name for name, _ in networks],
            [layers + size for (_, layers), size in zip(networks, sizes, strict=True)],
        ),
        "recipe": _recipes([Recipe.from_dict(one["recipe"]) for one in descriptions]),
        "data": _told_apart([name for name, *_ in data], [mark for *_, mark in data]),
    }


def _told_apart(names: list[str], contents: list[str]) -> list[str]:
    """The names; where one stands for several contents, with the number of its content."""
    of_name: dict[str, list[str]] = {}
    for name, content in zip(names, contents, strict=True):
        known = of_name.setdefault(name, [])
        if content not in known:
            known.append(content)
    return [
        name if len(of_name[name]) == 1 else f"{name} ({of_name[name].index(content) + 1})"
        for name, content in zip(names, contents, strict=True)
    ]


def _recipes(recipes: list[Recipe]) -> list[str]:
    """Each recipe's name, with the values in which it differs from others of that name."""
    # Recipes with the same values are one recipe, whatever they are called.
    same = [next(r for r in recipes if not changes.changed_keys(recipe, r)) for recipe in recipes]
    named = []
    for recipe in same:
        keys: dict[str, Any] = {}
        for other in same:
            if other.name == recipe.name:
                keys |= changes.changed_keys(recipe, other)
        named.append(f"{recipe.name} {changes.words(keys)}" if keys else recipe.name)
    return named


def _names(differs: dict[str, list[str]], lists: list[list[Run]], single: bool) -> list[str]:
    """A short name for each side: its values of what differs, without what all names begin with."""
    parts = []
    for aspect, values in differs.items():
        if aspect == "seeds":
            parts.append([f"seed {value}" for value in values] if single else [""] * len(values))
            continue
        heads = {value.partition(" ")[0] for value in values}
        if aspect == "recipe" and len(heads) == 1:
            values = [value.partition(" ")[2] for value in values]
        parts.append(values)
    names = [" ".join(filter(None, of)) for of in zip(*parts, strict=True)]
    return [
        name if name and names.count(name) == 1 else f"{name} {members[0].name}".strip()
        for name, members in zip(names, lists, strict=True)
    ]


def _numbers(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))
