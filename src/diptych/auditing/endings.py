"""The final activations of two networks, one of which may leave it to the loss."""

import numpy as np
from scipy import special

from diptych.auditing.pair import Pair, Which
from diptych.auditing.several import of_size
from diptych.auditing.twins import distance

FUNCTIONS = {
    None: lambda z: z,
    "softmax": lambda z: special.softmax(z, axis=-1),
    "log_softmax": lambda z: special.log_softmax(z, axis=-1),
    "sigmoid": special.expit,
}
"""The final activations that may be part of the loss instead."""


def as_one(
    pair: Pair, outputs: dict[Which, np.ndarray], like: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of both sides after the same final activation.

    Where one network ends in a softmax and the other leaves it to the loss, the difference does not
    count. It does count if the trainings of both sides end alike.

    Args:
        pair: both sides.
        outputs: by side, (n, …).
        like: A's other outputs, which these are to be behind the same activation as.
    """
    a, b = of_both(pair, outputs)
    size = float(np.abs(a).max(initial=1.0))
    as_they_are = distance(a, b) <= 1e-9 * size
    if like is not None:
        as_they_are = distance(a, like) <= distance(_ended(pair, "a", a), like)
    return (a, b) if as_they_are else (_ended(pair, "a", a), _ended(pair, "b", b))


def of_both(pair: Pair, outputs: dict[Which, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The outputs that both sides have, in one shape, float64: of several, those of which the other
    side has one. They are as they were if their sizes do not fit."""
    a, b = outputs["a"].astype(np.float64), outputs["b"].astype(np.float64)
    if a.size > b.size:
        a = of_size(a, pair.several.get("a", ()), b[:1].size)
    elif b.size > a.size:
        b = of_size(b, pair.several.get("b", ()), a[:1].size)
    return a, b.reshape(a.shape) if a.size == b.size else b


def _ended(pair: Pair, which: Which, y: np.ndarray) -> np.ndarray:
    """A side's outputs after the final activation that only the other side has; logarithms of
    probabilities as probabilities, if the other side gives those."""
    own, other = pair.final[which], pair.final["b" if which == "a" else "a"]
    if (own, other) == ("log_softmax", "softmax"):
        return np.exp(y)
    return FUNCTIONS[None if own else other](y)
