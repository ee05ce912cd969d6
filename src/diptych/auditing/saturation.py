"""Outputs that stand for probabilities of all but 0 or 1.

There a loss is a matter of convention. One that takes probabilities clips them (Keras by 1e-7) or
stops at a logarithm (PyTorch's ``BCELoss`` at -100), so that its gradient ends; one that takes
logits does neither. For all other probabilities they are the same, and users port one to the other.
"""

import numpy as np

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.endings import FUNCTIONS, ends_of
from diptych.auditing.pair import SIDES, Pair, Which

NEAR = {TWINS: 1e-6, FLOAT32: 1e-3}
"""The distance from 0 and from 1 at which a loss may clip probabilities, and the one at which
float32 leaves too few digits of the logarithm of what is missing to 1."""
REASON = "probabilities of all but 0 or 1, which a loss may clip"
TARGETS = ("classes", "one_hot", "binary")
"""The targets of losses that make probabilities of outputs, or take them."""


def functions_of(pair: Pair) -> list[str]:
    """The functions that may make probabilities of the last numbers that both networks have: a
    final activation of one of them, or else one in the loss. None if they are no probabilities."""
    finals = [final for which in SIDES for final in ends_of(pair, which) if final]
    if finals or not any(pair.sides[which].targets in TARGETS for which in SIDES):
        return ["softmax" if final == "log_softmax" else final for final in finals[:1]]
    return ["softmax", "sigmoid"]


def limited(pair: Pair, logits: np.ndarray, near: float) -> np.ndarray | None:
    """Outputs before the final activation, limited so that no probability is near 0 or 1; None if
    they are no probabilities.

    Args:
        pair: both sides.
        logits: (n, …), float64.
        near: one of `NEAR`.
    """
    if not functions_of(pair):
        return None
    limit = (-np.log(near) - np.log(max(2, logits.shape[-1]))) / 2
    return np.clip(logits, -limit, limit)


def saturated(pair: Pair, which: Which, outputs: np.ndarray, near: float) -> np.ndarray:
    """Shows for each example whether a probability is near 0 or 1, bool (n,).

    Args:
        pair: both sides.
        which: the side that the outputs are of.
        outputs: (n, …).
        near: one of `NEAR`.
    """
    y = outputs.astype(np.float64)
    functions = functions_of(pair)
    parts = [(y, pair.final[which], functions)]
    if any(isinstance(final, tuple) for final in pair.final.values()):
        parts = _parts(pair, which, y)
    shown = np.zeros(len(y), bool)
    for part, end, possible in parts:
        of_all = [FUNCTIONS[function](part) for function in possible]
        if end:
            of_all = [np.exp(part) if end == "log_softmax" else part]
        for p in of_all:
            shown |= ~((p > near) & (p < 1 - near)).reshape(len(y), -1).all(axis=1)
    return shown


def _parts(pair: Pair, which: Which, y: np.ndarray) -> list[tuple[np.ndarray, str | None, list]]:
    """Of several outputs, those that are probabilities on either side: the numbers, the final
    activation, and the functions that may make probabilities of them."""
    ends, others = (ends_of(pair, side) for side in (which, "b" if which == "a" else "a"))
    parts = []
    for output, end, other in zip(pair.several.get(which, ()), ends, others, strict=False):
        if function := end or other:
            part = y[:, output.start : output.start + output.size].reshape(len(y), *output.shape)
            parts.append((part, end, ["softmax" if function == "log_softmax" else function]))
    return parts
