"""The weights with which both sides are compared, and weights near them."""

import contextlib
from collections.abc import Iterator

import numpy as np

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.graph import Arrays
from diptych.auditing.kinds.registry import role_of
from diptych.auditing.pair import Pair, Which

PLACES = 3
"""The number of weights at which two sides must differ for a finding; see `nearby`."""
ULP = np.float32(2.0**-23)
IDLE = {TWINS: 1e-11, FLOAT32: 1e-6}
"""A gradient so much smaller than the largest is zero in truth, by the precision."""
Weights = dict[Which, Arrays]
"""The same weights for both sides, as far as they fit, each by its own names."""


def stirred(pair: Pair) -> Arrays:
    """A's weights, with varied biases and averages, because zeros would hide mistakes."""
    random = np.random.default_rng(0)
    weights = dict(pair.sides["a"].own)
    for node in pair.a.nodes:
        for role, name in node.parameters.items():
            value = weights[name]
            stir = role_of(node, role).stir
            if stir == "scale":
                weights[name] = (value * random.uniform(0.5, 1.5, value.shape)).astype(value.dtype)
            elif stir == "add":
                moved = value + random.normal(0, 0.1, value.shape)
                weights[name] = moved.astype(value.dtype)
    return {name: weights[name] for name in pair.transfer.names} if pair.transfer.names else weights


def without_gradient(gradients: Arrays, precision: str) -> set[str]:
    """The parameters whose gradients are zero but for rounding, such as those of a bias before
    batch normalisation. Adam divides such a gradient by its own size, and moves it at random.

    Args:
        gradients: by parameter.
        precision: what they were computed in, `TWINS` or `FLOAT32`.
    """
    sizes = {name: float(np.abs(value).max(initial=0.0)) for name, value in gradients.items()}
    largest = max(sizes.values(), default=0.0)
    return {name for name, size in sizes.items() if 0 < size < IDLE[precision] * largest}


def an_ulp_off(weights: Arrays, seed: int) -> Arrays:
    """The weights, each changed by an ulp up or down."""
    random = np.random.default_rng(seed)
    return {
        name: (value * (1 + ULP * random.choice([-1, 1], value.shape))).astype(value.dtype)
        for name, value in weights.items()
        if value.dtype.kind == "f"
    }


@contextlib.contextmanager
def nearby(pair: Pair, weights: Weights, number: int) -> Iterator[Weights]:
    """Loads weights near the given ones into both sides for a while; the given ones for 0.

    If the input of a rectifier is zero up to rounding, two sides may take different branches, which
    no bound covers. That happens at some weights; an error is there at all of them.
    """
    if not number:
        yield weights
        return
    random = np.random.default_rng(number)
    moved = {
        name: (value * (1 + 0.01 * random.standard_normal(value.shape))).astype(value.dtype)
        for name, value in weights["a"].items()
        if name in pair.transfer.names and value.dtype.kind == "f"
    }
    others = {"a": weights["a"] | moved, "b": weights["b"] | pair.transfer.to_b(moved)}
    pair.load(others)
    try:
        yield others
    finally:
        pair.load(weights)
