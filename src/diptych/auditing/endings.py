"""The final activations of two networks, one of which may leave it to the loss."""

import numpy as np
from scipy import special

from diptych.auditing.kinds.curves import activate
from diptych.auditing.match import Final
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
    """A side's outputs after the final activations that only the other side has; logarithms of
    probabilities as probabilities, if the other side gives those."""
    other: Which = "b" if which == "a" else "a"
    ends, others = ends_of(pair, which), ends_of(pair, other)
    outputs = pair.several.get(which, ())
    if len(ends) != len(others):
        return y
    if len(ends) == 1:
        return _as_other(y, ends[0], others[0])
    parts = [
        _as_other(
            y[:, output.start : output.start + output.size].reshape(len(y), *output.shape),
            end,
            of_other,
        )
        for output, end, of_other in zip(outputs, ends, others, strict=True)
    ]
    return np.concatenate([part.reshape(len(y), -1) for part in parts], axis=1)


def _as_other(y: np.ndarray, end: str | None, other: str | None) -> np.ndarray:
    """One output behind the other side's final activation, where its own is another."""
    if (end, other) == ("log_softmax", "softmax"):
        return np.exp(y)
    return FUNCTIONS[None if end else other](y)


def ends_of(pair: Pair, which: Which) -> tuple[str | None, ...]:
    """The final activation of each of a side's outputs."""
    final = pair.final[which]
    if isinstance(final, tuple):
        return final
    several = pair.several.get(which) if pair.narrowed != which else None
    return (final,) * len(several) if several else (final,)


def ended(pair: Pair, which: Which, z: np.ndarray, final: Final = None) -> np.ndarray:
    """Outputs of a side's last layers behind its final activations.

    Args:
        pair: both sides.
        which: the side.
        z: (n, …), before its final activations.
        final: other final activations, in the place of the side's own.
    """
    final = final or pair.final[which]
    if not isinstance(final, tuple):
        return np.asarray(activate(final, None, z)) if final else z
    parts = []
    for output, end in zip(pair.several[which], final, strict=True):
        part = z[:, output.start : output.start + output.size].reshape(len(z), *output.shape)
        part = np.asarray(activate(end, None, part)) if end else part
        parts.append(part.reshape(len(z), -1))
    return np.concatenate(parts, axis=1)
