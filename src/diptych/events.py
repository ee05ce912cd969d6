"""Events of a running training or comparison, as dataclasses.

The reports of a worker are sent between processes as plain data: `to_plain` and `from_plain`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, get_args

from diptych.workflows.progress import Epoch


@dataclass(frozen=True)
class Planned:
    """A comparison knows how many trainings it takes."""

    trainings: int


@dataclass(frozen=True)
class Loading:
    """A worker has read its run and loads the framework next."""

    run: str
    """The run's folder as the caller named it."""
    workflow: str
    network: str
    recipe: str
    precision: str
    seed: int


@dataclass(frozen=True)
class Started:
    """The first step comes next."""

    epoch: int
    """The epoch under way, counted from 1."""
    epochs: int
    step: int
    """Steps of this epoch that an earlier process has done."""
    steps: int
    """Steps per epoch."""


@dataclass(frozen=True)
class Stepped:
    """Steps were done; reported a few times per second at most."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    """Of the newest batch."""
    accuracy: float


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended and was measured."""

    measured: Epoch


@dataclass(frozen=True)
class WeightsSummarised:
    """The weights after an epoch, for TensorBoard."""

    epoch: int
    histograms: dict[str, dict[str, Any]]
    """For each weight, the values of TensorBoard's ``HistogramProto``."""


@dataclass(frozen=True)
class WeightsKept:
    """Early stopping has chosen an epoch's weights."""

    epoch: int
    epochs: int
    """Epochs trained."""
    early: bool
    """True if training stopped before the recipe's last epoch."""


@dataclass(frozen=True)
class Evaluating:
    """The test images are read next."""


@dataclass(frozen=True)
class Auditing:
    """An audit of a comparison has come to a stage."""

    stage: str


@dataclass(frozen=True)
class Done:
    """The run is finished; its folder holds the whole result."""

    test_accuracy: float
    epoch_of_the_weights: int


Event = (
    Planned
    | Loading
    | Started
    | Stepped
    | EpochEnded
    | WeightsSummarised
    | WeightsKept
    | Evaluating
    | Auditing
    | Done
)
Report = Callable[[Event], None]
"""Called with each event as it comes."""

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


def to_plain(event: Event) -> dict[str, Any]:
    """Plain data from which `from_plain` makes the same event."""
    return {"event": type(event).__name__, "values": asdict(event)}


def from_plain(plain: dict[str, Any]) -> Event:
    """The event of the plain data that `to_plain` gives."""
    kind, values = KINDS[plain["event"]], plain["values"]
    if kind is EpochEnded:
        return EpochEnded(Epoch(**values["measured"]))
    return kind(**values)
