"""The learning-rate schedulers that a user makes for an optimizer."""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import lr_scheduler

from diptych.auditing.frameworks.users import user_line

HIDDEN = ("optimizer", "last_epoch", "base_lrs", "verbose", "best", "num_bad_epochs")
HIDDEN += ("cooldown_counter", "mode_worse", "default_min_lr", "min_lrs", "total_size")
"""Attributes that are a scheduler's state, or follow from its other attributes."""


@dataclass(eq=False)
class Scheduler:
    """A learning-rate scheduler, and the user's line that made it."""

    scheduler: Any
    where: str | None

    def moves(self, optimizer: torch.optim.Optimizer) -> bool:
        """True if it sets the rates of the given optimizer."""
        return getattr(self.scheduler, "optimizer", None) is optimizer

    @property
    def follows_a_metric(self) -> bool:
        """True if its step depends on how training goes, and not only on a count."""
        return isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)

    def __str__(self) -> str:
        """Such as ``StepLR(step_size=100, gamma=0.1)``."""
        shown = {
            name: value
            for name, value in vars(self.scheduler).items()
            if not name.startswith("_")
            and name not in HIDDEN
            and isinstance(value, (int, float, str, list, tuple, dict))
        }
        arguments = ", ".join(f"{name}={_shown(value)}" for name, value in shown.items())
        return f"{type(self.scheduler).__name__}({arguments})"

    def is_part_of(self, schedulers: list["Scheduler"]) -> bool:
        """True if one of the given schedulers steps it."""
        parts = [getattr(other.scheduler, "_schedulers", []) for other in schedulers]
        return any(self.scheduler is part for group in parts for part in group)

    def length(self) -> tuple[str, int] | None:
        """Which of its arguments says after how many of its steps it ends, and the number.

        None for schedulers that go on for ever, and for those that only say how training begins.
        """
        return _length(self.scheduler)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _length(scheduler: Any) -> tuple[str, int] | None:
    name = type(scheduler).__name__
    match scheduler:
        case lr_scheduler.OneCycleLR():
            return f"{name}'s total_steps", scheduler.total_steps
        case lr_scheduler.CosineAnnealingLR():
            return f"{name}'s T_max", scheduler.T_max
        case lr_scheduler.PolynomialLR():
            return f"{name}'s total_iters", scheduler.total_iters
        case lr_scheduler.SequentialLR():
            last = _length(scheduler._schedulers[-1])
            return last and (f"SequentialLR's {last[0]}", scheduler._milestones[-1] + last[1])
        case lr_scheduler.ChainedScheduler():
            lengths = [length for s in scheduler._schedulers if (length := _length(s))]
            return max(lengths, key=lambda length: length[1], default=None)
    return None


@contextmanager
def schedulers_made() -> Iterator[list[Scheduler]]:
    """Keeps all schedulers that are made meanwhile, in the order in which they are made."""
    made: list[Scheduler] = []
    # Those whose `__init__` does not call the base class's.
    own = (lr_scheduler.SequentialLR, lr_scheduler.ChainedScheduler, lr_scheduler.ReduceLROnPlateau)
    kinds: tuple[Any, ...] = (lr_scheduler.LRScheduler, *own)
    originals = {kind: kind.__init__ for kind in kinds}

    def recording(original: Any) -> Any:
        @functools.wraps(original)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            if not any(scheduler.scheduler is self for scheduler in made):
                made.append(Scheduler(self, user_line(sys._getframe(1), made=self)))
            original(self, *args, **kwargs)

        return init

    for kind, original in originals.items():
        kind.__init__ = recording(original)
    try:
        yield made
    finally:
        for kind, original in originals.items():
            kind.__init__ = original
