"""Studies as data: a question, arms that are trained over several seeds, and a criterion.

A study is a TOML file, the user's own or one of the zoo's.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diptych import zoo
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.study.measures import MEASURES
from diptych.validation import Described
from diptych.workflows import registry

Seeds = Annotated[int, Field(strict=True, ge=1, le=1_000)]


class Arm(BaseModel):
    """One way to train: what is not given is what `diptych.train` does by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workflow: str | None = None
    network: str | None = None
    """A name in the zoo, or a TOML file."""
    layers: list[dict[str, Any]] | None = None
    """The layers of a network of this study alone, as in a network's TOML file."""
    recipe: str | None = None
    values: dict[str, Any] = {}
    """Other values for keys of the recipe."""
    data: str | None = None
    images: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Train on so many images, the first ones, and validate on an eleventh as many."""
    shuffled: bool = False
    """True if the pixels of all images are in one other order."""

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if self.network and self.layers:
            raise ValueError("network and layers: give one of them")
        if self.workflow:
            registry.check_name(self.workflow)
        return self

    def over(self, base: "Arm") -> "Arm":
        """This arm, with what it leaves open as the base has it."""
        own = self.model_dump(exclude_unset=True)
        given = base.model_dump(exclude_unset=True)
        if {"network", "layers"} & own.keys():
            given = {k: v for k, v in given.items() if k not in ("network", "layers")}
        values = {**given.get("values", {}), **own.get("values", {})}
        return Arm.model_validate(given | own | ({"values": values} if values else {}))

    def described_network(self, name: str) -> Network:
        """The network of this arm.

        Raises:
            InputError: there is none of that name, or its layers are wrong.
        """
        if self.layers is None:
            return Network.load(self.network or "article")
        described = {"name": name, "input_shape": [28, 28, 1], "layers": self.layers}
        return Network.from_dict(described, f"of arm {name}")

    def described_recipe(self) -> Recipe | None:
        """The recipe of this arm, or None for the network's default.

        Raises:
            InputError: there is none of that name, or a value is wrong.
        """
        if self.recipe is None and not self.values:
            return None
        return Recipe.load(self.recipe or "plain").with_changes(**self.values)


class Answer(BaseModel):
    """The criterion of a study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["below", "higher", "lower", "equal"]
    """``below``: every arm's mean is below `limit`. ``higher``: the first arm's mean is higher than
    each other arm's; ``lower``: lower. ``equal``: each other arm's mean is within `margin` of the
    first arm's."""
    measure: str = "test_accuracy"
    limit: float | None = None
    margin: float | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.measure not in MEASURES:
            raise ValueError(f"measure: {zoo.hint(self.measure, sorted(MEASURES))}")
        for kind, key in (("below", "limit"), ("equal", "margin")):
            if (self.kind == kind) != (getattr(self, key) is not None):
                raise ValueError(f"answer: {key} belongs to kind {kind!r}, given {self.kind!r}")
        return self


class Study(Described):
    """A study as its TOML file describes it.

    Raises:
        InputError: from `load`, with one line that names the key.
    """

    shelf: ClassVar[zoo.Shelf] = "studies"

    name: str
    question: str
    claim: str = ""
    """The article's sentence, word for word, where the study puts one to the test."""
    seeds: Seeds = 5
    quick_seeds: Seeds = 2
    """The number of seeds of ``--quick``."""
    base: Arm = Arm()
    """The settings that all arms have in common."""
    quick: Arm = Arm()
    """The changes of ``--quick`` in the base."""
    quick_arms: dict[str, Arm] = Field(default_factory=dict)
    """The changes of ``--quick`` in single arms."""
    arms: Annotated[dict[str, Arm], Field(min_length=1)]
    """In the order in which they are shown; the first one is what others are compared with."""
    answer: Answer

    @model_validator(mode="after")
    def _arms_suffice(self) -> Self:
        if self.answer.kind != "below" and len(self.arms) < 2:
            raise ValueError(f"arms: an answer of kind {self.answer.kind!r} needs two or more")
        for name in self.quick_arms:
            if name not in self.arms:
                raise ValueError(f"quick_arms: no arm {name!r} ({zoo.hint(name, [*self.arms])})")
        return self

    def complete_arms(self, quick: bool) -> dict[str, Arm]:
        """Each arm with all that it has from the base, ``--quick`` included."""
        if not quick:
            return {name: arm.over(self.base) for name, arm in self.arms.items()}
        base, changed = self.quick.over(self.base), self.quick_arms
        return {
            name: changed.get(name, Arm()).over(arm.over(base)) for name, arm in self.arms.items()
        }
