"""The results of a comparison: figures of each side, their differences, and what was left out."""

from dataclasses import asdict, dataclass, field
from typing import Any

from diptych.shown import as_html, as_text

SCHEMA = 2


@dataclass(frozen=True)
class Side:
    """The runs that differ in their seeds alone: means of accuracies, medians of times."""

    name: str
    """The difference of this side from the others, such as its workflow or its network."""
    workflow: str
    network: str
    recipe: str
    data: str
    precision: str
    """The arithmetic of its training; predictions for the test images are always in float32."""
    runs: list[str]
    seeds: list[int]
    test_accuracy: float
    """The mean over the seeds."""
    test_accuracies: list[float]
    deviation: float | None
    """The standard deviation between seeds; None for one seed."""
    interval: tuple[float, float] | None
    """95%: of one run's accuracy (Wilson), or of the mean over seeds (Student's t); None where all
    seeds have the same accuracy, which says nothing about their spread."""
    validation_accuracy: float
    lines_of_code: int
    """Of the plain script of this training, as ``diptych code`` writes it."""
    training: "Training | None"
    """None for an imported run, whose training was not measured."""


@dataclass(frozen=True)
class Training:
    """The time and memory of a side's training, as medians over its seeds."""

    epochs: float
    """The mean."""
    seconds: float
    seconds_per_epoch: float
    images_per_second: float
    start_seconds: float
    peak_memory_mib: float
    """The most of any seed."""


@dataclass(frozen=True)
class Difference:
    """Two sides' predictions for the same test images."""

    first: str
    second: str
    test: str
    """The name of the statistical test."""
    p_value: float | None
    only_first_right: int
    """Images, over the seeds, that the first classifies correctly and the second does not."""
    only_second_right: int
    both_wrong: int
    significance: float = 0.05
    """A p-value below this is taken to be more than chance."""

    @property
    def means_something(self) -> bool:
        return self.p_value is not None and self.p_value < self.significance


@dataclass(frozen=True)
class Disagreement:
    """A test image that one side classifies correctly and another does not, for the first seed."""

    image: int
    """Its number among the test images, from 0."""
    label: str
    answers: dict[str, str]
    """The predicted class by the name of the side."""


@dataclass(frozen=True)
class LeftOut:
    """Something that could not be compared."""

    what: str
    why: str


@dataclass(frozen=True, repr=False)
class Comparison:
    """Several runs side by side."""

    folder: str
    differs: dict[str, list[str]]
    """The aspects in which the sides differ, such as ``workflow``, with the value of each side."""
    alike: dict[str, str]
    """The aspects that all sides have in common."""
    sides: list[Side]
    differences: list[Difference]
    disagreements: list[Disagreement]
    left_out: list[LeftOut]
    conclusion: str
    machine: dict[str, Any] | None
    """The runs' machine; None if they are of several, whose times cannot be compared."""
    versions: dict[str, str]
    audits: list[dict[str, Any]] = field(default_factory=list)
    """The results of `diptych.audit`, if it was run, as plain data with its ``conclusion``."""
    same_as: str | None = None
    """The folder of an earlier comparison of the same networks, recipes, data and seeds. It is
    `folder` itself if its runs are the same too: nothing is written then."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` writes them."""
        return {"schema": SCHEMA, **asdict(self)}

    __repr__ = as_text("comparison:comparison_tables")
    _repr_html_ = as_html("comparison:comparison_tables")
