"""A search as its TOML file describes it: a base, a space of values for its recipe, and trials."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diptych import zoo
from diptych.errors import InputError
from diptych.recipe import Recipe
from diptych.study.description import Arm, Seeds
from diptych.validation import Described

Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]
Value = Annotated[bool, Field(strict=True)] | Number | str
Trials = Annotated[int, Field(strict=True, ge=1, le=100_000)]


class Range(BaseModel):
    """The values of one key: from `low` to `high`, or one of `choices`.

    Two whole numbers make a range of whole numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    """True for a range that is searched on a logarithmic scale."""
    choices: Annotated[tuple[Value, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        ends = (self.low, self.high)
        if self.choices is not None:
            if ends != (None, None) or self.log:
                raise ValueError("choices: give them, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range has low and high, or choices")
        if self.low >= self.high:
            raise ValueError(
                f"low = {self.low} is not below high = {self.high}: the range is empty"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low}: a logarithmic range begins above 0")
        return self

    @property
    def whole(self) -> bool:
        """True for a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Its choices, or its two ends."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def holds(self, value: object) -> bool:
        """True where a value is in it."""
        if self.choices is not None:
            return value in self.choices
        low, high = self.ends
        return isinstance(value, int | float) and low <= value <= high  # type: ignore[operator]


class Search(Described):
    """A search for better values of a recipe.

    Raises:
        InputError: from `load`, with one line that names the key.
    """

    shelf: ClassVar[zoo.Shelf] = "searches"

    name: str
    question: str
    trials: Trials = 30
    quick_trials: Trials = 10
    """The number of trials of ``--quick``."""
    seeds: Seeds = 5
    """With how many seeds the best trial and the base are trained at the end."""
    quick_seeds: Seeds = 2
    measure: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    base: Arm = Arm()
    """The part that all trials have in common, and that the best one is compared with."""
    quick: Arm = Arm()
    """The changes of ``--quick`` in the base."""
    space: Annotated[dict[str, Range], Field(min_length=1)]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Which way the measure gets better, in Optuna's words."""
        return "minimize" if self.measure == "validation_loss" else "maximize"

    def complete_base(self, quick: bool) -> Arm:
        """The base, ``--quick`` included."""
        return self.quick.over(self.base) if quick else self.base

    def default_values(self, recipe: Recipe) -> dict[str, Value]:
        """The values that the base's own recipe has for the keys of the space.

        Args:
            recipe: the base's.

        Raises:
            InputError: the recipe has no such key, cannot have a value of the space, or has one
                that is outside of it.
        """
        values: dict[str, Value] = {}
        for key, span in self.space.items():
            known = sorted(Recipe.model_fields.keys() - {"name", "description", "made_for"})
            if key not in known:
                hint = zoo.hint(key, known)
                raise InputError(
                    f"search {self.name}: space.{key}: no such value of a recipe ({hint})"
                )
            for value in span.ends:
                try:
                    recipe.with_changes(**{key: value})
                except InputError as problem:
                    raise InputError(f"search {self.name}: space.{key}: {problem}") from None
            values[key] = getattr(recipe, key)
            if not span.holds(values[key]):
                raise InputError(
                    f"search {self.name}: space.{key}: the base has {values[key]}, which is not in "
                    "it: widen the space, or give the base another value"
                )
        return values
