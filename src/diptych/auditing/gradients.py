"""Gradients made by the audit, described compactly enough to be built in another process.

A value's gradient at step t is ``size * pace[(phase + t) % len(pace)] * level[t]``: each value has
its size and phase, all share the pace, and there is one level per step. So a path of an optimiser
over a thousand steps is sent and returned as a few numbers per parameter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sparse:
    """Arrays like the parameters that are zero except at a few places."""

    shapes: dict[str, tuple[int, ...]]
    places: Arrays
    """Flat indices."""
    numbers: Arrays

    def dense(self) -> Arrays:
        """The full arrays."""
        return {name: self.array(name) for name in self.shapes}

    def array(self, name: str) -> np.ndarray:
        """The full array of one parameter."""
        array = np.zeros(math.prod(self.shapes[name]), self.numbers[name].dtype)
        array[self.places[name]] = self.numbers[name]
        return array.reshape(self.shapes[name])


Gradients = Arrays | Sparse | Callable[[Arrays], Arrays]
"""Gradients by the names of the parameters, or a function of the current parameters."""
Keep = Callable[[Arrays], Arrays]
"""Copies what is needed of the parameters after a step; the next step may overwrite them."""
GROUPS = ("place", "weight", "size", "phase")


@dataclass(frozen=True)
class Plan:
    """Initial weights and gradients for a number of steps, by one side's names.

    A few values of each parameter get a gradient and are watched; the others are zero and get zero
    gradients.
    """

    places: Arrays
    """The flat indices of the watched values, int64, in the order of the answer."""
    weights: Arrays
    """The initial weights of the watched values, in the precision of the gradients."""
    sizes: Arrays
    phases: Arrays
    """Integers."""
    pace: list[float]
    levels: list[float]
    """One per step."""
    penalties: dict[str, float] = field(default_factory=dict)
    """The factor of each parameter's sum of squares in the loss. Its gradient, at the current value
    of the parameter, is added in each step."""

    @property
    def steps(self) -> int:
        return len(self.levels)

    def to_message(self) -> tuple[dict[str, Any], Arrays]:
        """Plain data and arrays from which `from_message` builds the same plan."""
        groups = zip(GROUPS, (self.places, self.weights, self.sizes, self.phases), strict=True)
        arrays = {f"{group}|{name}": v for group, part in groups for name, v in part.items()}
        request = {"pace": self.pace, "levels": self.levels, "penalties": self.penalties}
        return request, arrays

    @classmethod
    def from_message(cls, request: dict[str, Any], arrays: Arrays) -> "Plan":
        parts: dict[str, Arrays] = {group: {} for group in GROUPS}
        for key, value in arrays.items():
            group, name = key.split("|", 1)
            parts[group][name] = value
        places, weights, sizes, phases = (parts[group] for group in GROUPS)
        lists = (request["pace"], request["levels"], request.get("penalties", {}))
        return cls(places, weights, sizes, phases, *lists)

    def step(self, shapes: dict[str, tuple[int, ...]], step: int) -> Gradients:
        """The gradients of one step, counted from 0, or what they are at given parameters.

        Args:
            shapes: of the side's parameters.
            step: its number.
        """
        pace, level = np.array(self.pace), self.levels[step]
        numbers = {
            name: (size * (pace[(self.phases[name] + step) % len(pace)] * level)).astype(size.dtype)
            for name, size in self.sizes.items()
        }
        gradients = Sparse(shapes, self.places, numbers)
        return partial(self.penalised, gradients.dense()) if self.penalties else gradients

    def penalised(self, gradients: Arrays, parameters: Arrays) -> Arrays:
        """Gradients plus those of the penalties at these parameters."""
        return gradients | {
            name: gradients[name] + (2 * factor * parameters[name]).astype(gradients[name].dtype)
            for name, factor in self.penalties.items()
        }

    def run(self, adapter: Any, several: Callable[[int, Callable[[int], Any]], Any]) -> Arrays:
        """The watched numbers before the first step and after each, by name (steps + 1, watched).

        Args:
            adapter: a side; its parameters are as they were afterwards.
            several: makes a sequence of so many items of what gives one by its number.
        """
        before = adapter.parameters()
        shapes = {name: before[name].shape for name in self.places}
        adapter.load(Sparse(shapes, self.places, self.weights).dense())
        try:
            keep = watching(self.places)
            start = keep(adapter.parameters())
            gradients = several(self.steps, partial(self.step, shapes))
            return path_of([start, *adapter.updates(gradients, keep)])
        finally:
            adapter.load({name: before[name] for name in self.places})


def whole(parameters: Arrays) -> Arrays:
    """Copies all parameters."""
    return {name: np.array(value) for name, value in parameters.items()}


def watching(places: Arrays) -> Keep:
    """Copies the values at these flat indices, by the names of the parameters."""

    def keep(parameters: Arrays) -> Arrays:
        return {
            name: np.atleast_1d(parameters[name])[indices_of(indices, parameters[name].shape)]
            for name, indices in places.items()
        }

    return keep


def indices_of(places: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The indices of flat places in an array of a shape; a single number has one axis."""
    return np.unravel_index(places, shape or (1,))


def path_of(rows: list[Arrays]) -> Arrays:
    """The watched values after each step, by name (rows, watched)."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def numbered(places: Arrays, like: Arrays) -> Arrays:
    """By name, arrays of the parameters' shapes that hold each watched number's place in the
    answer; -1 for the others.

    Args:
        places: flat indices.
        like: the parameters.
    """
    numbers = {}
    for name, indices in places.items():
        number = np.full(like[name].size, -1, np.int32)
        number[indices] = np.arange(len(indices))
        numbers[name] = number.reshape(like[name].shape)
    return numbers


def places_of(numbers: Arrays) -> Arrays:
    """The inverse of `numbered`."""
    places = {}
    for name, number in numbers.items():
        indices = np.flatnonzero(number.ravel() >= 0)
        places[name] = indices[np.argsort(number.ravel()[indices], kind="stable")]
    return places


def at(gradients: Gradients, parameters: Callable[[], Arrays]) -> Arrays:
    """The gradients as whole arrays, at the parameters that are given when asked for."""
    if isinstance(gradients, Sparse):
        return gradients.dense()
    return gradients(parameters()) if callable(gradients) else gradients
