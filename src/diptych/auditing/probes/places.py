"""The weights, inputs and batch sizes with which both sides are compared.

Not every combination: each set of weights with the ordinary inputs, and each input and batch size
with weights that differ from the initial ones.
"""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.examples import leading_rescale
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.twins import Twins

SCALES = (0.01, 100.0)
"""Factors of the ordinary inputs that reach thresholds, clamps and saturation."""
LARGE = 4.0
"""The factor of the large weights; it applies to arrays with two or more axes, which are kernels.
"""
ODD = 7
MOVED = 0.1
"""The relative standard deviation of moved weights."""


@dataclass(frozen=True)
class Place:
    """One combination of weights, inputs and batch size."""

    weights: str
    """``initial``, ``moved`` or ``large``."""
    scale: float
    """The factor of the inputs."""
    size: int
    """The number of examples in the batch."""

    @property
    def extents(self) -> dict[str, object]:
        """Its extents in the certificate."""
        return {"weights": self.weights, "inputs": f"×{self.scale:g}", "batches_of": self.size}

    def __str__(self) -> str:
        return f"{self.weights} weights, inputs ×{self.scale:g}, a batch of {self.size}"


def places(twins: Twins) -> list[Place]:
    """The places for two sides."""
    count = len(twins.examples.x["a"])
    ordinary = [Place(weights, 1.0, count) for weights in ("moved", "initial", "large")]
    scaled = [Place("moved", scale, count) for scale in SCALES if scales(twins)]
    wanted = dict.fromkeys((1, ODD, *twins.sizes))
    sized = [Place("moved", 1.0, size) for size in wanted if 0 < size != count]
    return ordinary + scaled + sized


def scales(twins: Twins) -> bool:
    """True if the inputs are numbers that can be multiplied, on both sides."""
    if any(twins.examples.x[which].dtype.kind != "f" for which in SIDES):
        return False
    widths = [twins.examples.x[which][0].size for which in SIDES]
    wholes = [twins.pair.sides[which].whole for which in SIDES]
    return all(
        sum(stop - start for start, stop in whole) < width
        for whole, width in zip(wholes, widths, strict=True)
    )


def weights_at(place: Place, start: Arrays) -> Arrays:
    """The weights of a place, by A's names."""
    chance = np.random.default_rng(5)
    if place.weights == "initial":
        return start
    weights = {
        name: value * (1 + MOVED * chance.standard_normal(value.shape))
        if value.dtype.kind == "f" else value
        for name, value in start.items()
    }  # fmt: skip
    if place.weights == "large":
        weights = {n: v * LARGE if v.ndim > 1 else v for n, v in weights.items()}
    return {name: value.astype(start[name].dtype) for name, value in weights.items()}


def inputs_at(
    place: Place, twins: Twins
) -> tuple[dict[Which, np.ndarray], dict[Which, np.ndarray]]:
    """The inputs and targets of a place, for each side."""
    examples = twins.examples
    rows = np.arange(place.size) % len(examples.x["a"])
    x = {which: twins.inputs[which][rows] for which in SIDES}
    if place.scale != 1.0 and scales(twins):
        x = {which: scaled(twins.pair, which, value, place.scale) for which, value in x.items()}
    return x, {which: examples.y[which][rows] for which in SIDES}


def scaled(pair: Pair, which: Which, x: np.ndarray, factor: float) -> np.ndarray:
    """Inputs for which the input of the first layer is multiplied, after any scaling before it."""
    scale, offset = leading_rescale(pair.graphs[which])
    result = (((x * scale + offset) * factor - offset) / scale).astype(x.dtype)
    for start, stop in pair.sides[which].whole:  # Token ids, masks.
        result[:, start:stop] = x[:, start:stop]
    return result
