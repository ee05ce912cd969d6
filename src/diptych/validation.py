"""Validation of descriptions in TOML files, with errors of one line."""

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from diptych import toml, zoo
from diptych.errors import InputError

LONGEST = 200
"""Characters of a wrong value that a message repeats."""


class Described(BaseModel):
    """A network, a recipe or a study: named in the zoo, or described by a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shelf: ClassVar[zoo.Shelf]
    """The shelf of the zoo with such descriptions."""

    name: str
    description: str = ""

    @classmethod
    def load(cls, name_or_file: str | Path) -> Self:
        """The one of that name in the zoo, or the one described by that TOML file.

        Raises:
            InputError: there is none, or its description is wrong.
        """
        text, source = zoo.read(cls.shelf, name_or_file)
        try:
            data = toml.parse(text)
        except ValueError as problem:
            raise InputError(f"{cls._what()} {source}: not TOML: {problem}") from None
        return cls.from_dict({"name": Path(source).stem} | data, source)

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str | None = None) -> Self:
        """The one that the given plain data describe, as from TOML or JSON.

        Raises:
            InputError: the description is wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as problem:
            what = f"{cls._what()} {source or data.get('name', 'given')}"
            raise InputError(f"{what}: {first_problem(problem, cls)}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which `from_dict` makes the same."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def _what(cls) -> str:
        return zoo.ONE_OF[cls.shelf]


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a validation: where it is, what was given and what was expected."""
    problems = error.errors(include_url=False)
    problem = problems[0]
    if problem["type"] == "missing":
        # What is missing was given under a name that nobody knows, if there is one in its place.
        beside = [each for each in problems if each["loc"][:-1] == problem["loc"][:-1]]
        problem = next((each for each in beside if each["type"] == "extra_forbidden"), problem)
    location, where = _place(problem["loc"])
    kind, given, details = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "value_error":
        return where + str(details["error"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        known = f"the kinds of layers are {', '.join(_kinds(model))}"
        if isinstance(given, dict) and "kind" in given:
            return f"{where}unknown kind {_brief(given['kind'])}; {known}"
        return f"{where}kind is missing; {known}"
    key = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        known = _keys(model, problem["loc"])
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"{where}unknown key {_brief(key)} ({hint})"
    if kind == "missing":
        return f"{where}{key} is missing"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if kind == "tuple_type":  # TOML's word, not Python's.
        message = "input should be a list, such as [1, 2]"
    if kind == "model_type":
        message = "input should be a table, such as { key = 1 }"
    return f"{where}{key} = {_brief(given)}: {message}" if key else f"{where}{message}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _place(location: tuple[int | str, ...]) -> tuple[tuple, str]:
    """Splits ``('layers', 2, 'conv', 'filters')`` into the key and the words for the layer."""
    if len(location) < 2 or location[0] != "layers":
        return location, ""
    number = int(location[1]) + 1
    kind = f" ({location[2]})" if len(location) > 2 else ""
    return location[3:], f"layer {number}{kind}: "


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the given place of the model knows."""
    if location[0] == "layers" and len(location) > 2:
        return sorted(_kinds(model)[str(location[2])].model_fields)
    annotation: Any = model
    for key in location[:-1]:  # Tables within the table, such as made_for.
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            annotation = annotation.model_fields[str(key)].annotation
        while get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if get_origin(annotation) in (Union, UnionType):
            parts = get_args(annotation)
            annotation = next(p for p in parts if isinstance(p, type) and issubclass(p, BaseModel))
    if get_origin(annotation) is dict:
        return []
    model = annotation
    return sorted(model.model_fields)


def _kinds(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The model's kinds of layers, by the name that ``kind`` gives them."""
    layers: Any = model.model_fields["layers"].annotation
    kinds = layers.__args__[0].__origin__.__args__
    return {kind.model_fields["kind"].default: kind for kind in kinds}
