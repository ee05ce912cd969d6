"""Which study or search a name or a file means."""

from diptych import toml, zoo
from diptych.errors import InputError
from diptych.study.description import Study
from diptych.study.space import Search

CLAIMS = "claims"
"""Stands for all studies that put a sentence of the article to the test."""


def everything() -> list[Study | Search]:
    """All studies and searches of the zoo."""
    studies = [Study.load(name) for name in zoo.names("studies")]
    return [*studies, *(Search.load(name) for name in zoo.names("searches"))]


def chosen(name: str) -> list[Study] | Search:
    """The search, or the studies, of that name or in that TOML file; a search has a ``space``.

    Raises:
        InputError: there is none, or its description is wrong.
    """
    if name == CLAIMS:
        return [study for study in map(Study.load, zoo.names("studies")) if study.claim]
    studies, searches = zoo.names("studies"), zoo.names("searches")
    if name in searches:
        return Search.load(name)
    if name not in studies and not name.endswith(".toml"):
        hint = zoo.hint(name, sorted([*studies, *searches, CLAIMS]))
        raise InputError(f"study {name!r}: no such name ({hint}), and not a .toml file")
    text, source = zoo.read("studies", name)
    try:
        is_search = "space" in toml.parse(text)
    except ValueError as problem:
        raise InputError(f"study {source}: not TOML: {problem}") from None
    return Search.load(name) if is_search else [Study.load(name)]
