"""Gradients of the audit's choice, described so shortly that a process can make them itself.

A number's gradient at step t is ``size * pace[(phase + t) % len(pace)] * level[t]``: sizes and
phases are arrays like the parameters, the pace is shared, the level is one number per step. So an
optimiser's path over a thousand steps crosses to its process as three arrays of each parameter, and
comes back for the numbers that are watched.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Gradients = Arrays | Callable[[Arrays], Arrays]
"""Gradients by the parameters' names, or what they are at the present parameters."""
GROUPS = ("weight", "size", "phase", "number")


@dataclass(frozen=True)
class Plan:
    """Weights to start from and gradients for a number of steps, by one side's names."""

    weights: Arrays
    sizes: Arrays
    phases: Arrays
    """Whole numbers."""
    numbers: Arrays
    """Whole numbers: a watched number's place in the answer; -1 for those that are not watched."""
    pace: list[float]
    levels: list[float]
    """One for each step."""
    penalties: dict[str, float] = field(default_factory=dict)
    """By name, how often the sum of a parameter's squares is in the loss: its gradient, at the
    parameter's present value, is added to each step's."""

    @property
    def steps(self) -> int:
        return len(self.levels)

    def to_message(self) -> tuple[dict[str, Any], Arrays]:
        """Plain data and arrays from which `from_message` makes the same plan."""
        groups = zip(GROUPS, (self.weights, self.sizes, self.phases, self.numbers), strict=True)
        arrays = {f"{group}|{name}": v for group, part in groups for name, v in part.items()}
        request = {"pace": self.pace, "levels": self.levels, "penalties": self.penalties}
        return request, arrays

    @classmethod
    def from_message(cls, request: dict[str, Any], arrays: Arrays) -> "Plan":
        parts: dict[str, Arrays] = {group: {} for group in GROUPS}
        for key, value in arrays.items():
            group, name = key.split("|", 1)
            parts[group][name] = value
        weights, sizes, phases, numbers = (parts[group] for group in GROUPS)
        lists = (request["pace"], request["levels"], request.get("penalties", {}))
        return cls(weights, sizes, phases, numbers, *lists)

    def step(self, step: int) -> Gradients:
        """The gradients of one step, counted from 0, or what they are at given parameters."""
        if not self.penalties:
            return self.gradient(step)
        return partial(self.penalised, self.gradient(step))

    def penalised(self, gradients: Arrays, parameters: Arrays) -> Arrays:
        """Gradients with those of the penalties at these parameters."""
        return gradients | {
            name: gradients[name] + (2 * factor * parameters[name]).astype(gradients[name].dtype)
            for name, factor in self.penalties.items()
        }

    def gradient(self, step: int) -> Arrays:
        """The gradients of one step, counted from 0, without those of penalties."""
        pace, level = np.array(self.pace), self.levels[step]
        return {
            name: (size * (pace[(self.phases[name] + step) % len(pace)] * level)).astype(size.dtype)
            for name, size in self.sizes.items()
        }

    def run(self, adapter: Any, gradients: Sequence[Gradients]) -> Arrays:
        """The watched numbers before the first step and after each, by name (steps + 1, watched).

        Args:
            adapter: a side; its parameters are as they were afterwards.
            gradients: of each step, such as `step` makes them.
        """
        before = adapter.parameters()
        adapter.load(self.weights)
        try:
            start = adapter.parameters()
            return watched(self.numbers, chain([start], adapter.updates(gradients)))
        finally:
            adapter.load({name: before[name] for name in self.weights})


def watched(numbers: Arrays, path: Iterable[Arrays]) -> Arrays:
    """The watched numbers along a path of parameters, by name (length of the path, watched).

    Args:
        numbers: by name, each watched number's place in the answer; -1 for the others.
        path: parameters, step by step.
    """
    places = {name: _places(number) for name, number in numbers.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in places}
    for parameters in path:
        for name, at in places.items():
            rows[name].append(parameters[name].ravel()[at])
    return {name: np.stack(columns) for name, columns in rows.items()}


def _places(numbers: np.ndarray) -> np.ndarray:
    """The flat indices of the watched numbers, in the order of their numbers."""
    flat = numbers.ravel()
    places = np.flatnonzero(flat >= 0)
    return places[np.argsort(flat[places], kind="stable")]


def at(gradients: Gradients, parameters: Arrays) -> Arrays:
    """The gradients at these parameters."""
    return gradients(parameters) if callable(gradients) else gradients
