"""Outputs that stand for probabilities of all but 0 or 1.

There a loss is a matter of convention. One that takes probabilities clips them (Keras by 1e-7) or
stops at a logarithm (PyTorch's ``BCELoss`` at -100), so that its gradient ends; one that takes
logits does neither. For all other probabilities they are the same, and users port one to the other.
"""

from collections.abc import Iterator

import numpy as np

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.endings import FUNCTIONS
from diptych.auditing.pair import SIDES, Pair, Which

NEAR = {TWINS: 1e-6, FLOAT32: 1e-3}
"""The distance from 0 and from 1 at which a loss may clip probabilities, and the one at which
float32 leaves too few digits of the logarithm of what is missing to 1."""
REASON = "probabilities of all but 0 or 1, which a loss may clip"
TARGETS = ("classes", "one_hot", "binary")
"""The targets of losses that make probabilities of outputs, or take them."""


def limited(pair: Pair, logits: np.ndarray, near: float) -> np.ndarray | None:
    """Outputs before the final activation, limited so that no probability is near 0 or 1; None if
    they are no probabilities.

    Args:
        pair: both sides.
        logits: (n, …), float64.
        near: one of `NEAR`.
    """
    result, are_probabilities = np.array(logits), False
    for part, functions, _ in _parts(pair, "a", result):
        if functions:
            limit = (-np.log(near) - np.log(max(2, part.shape[-1]))) / 2
            np.clip(part, -limit, limit, out=part)
            are_probabilities = True
    return result if are_probabilities else None


def saturated(pair: Pair, which: Which, outputs: np.ndarray, near: float) -> np.ndarray:
    """Shows for each example whether a probability is near 0 or 1, bool (n,).

    Args:
        pair: both sides.
        which: the side that the outputs are of.
        outputs: (n, …).
        near: one of `NEAR`.
    """
    rows = np.zeros(len(outputs), bool)
    for part, functions, end in _parts(pair, which, outputs.astype(np.float64)):
        y = part.reshape(len(rows), -1, part.shape[-1] if part.ndim > 1 else 1)
        if end:
            of_all = [np.exp(y) if end == "log_softmax" else y]
        else:
            of_all = [FUNCTIONS[function](y) for function in functions]
        for shares in of_all:
            rows |= np.any(~((shares > near) & (shares < 1 - near)), axis=(1, 2))
    return rows


Part = tuple[np.ndarray, list[str], str | None]
"""One of a side's outputs, the functions that may make probabilities of its numbers, and its own
final activation."""


def _parts(pair: Pair, which: Which, y: np.ndarray) -> Iterator[Part]:
    """Each of a side's outputs: the columns of a joined one, or the whole.

    The functions are a final activation of either side, or else one in the loss.
    """
    own, other = (pair.final[side] for side in (which, "b" if which == "a" else "a"))
    if not isinstance(own, tuple) and not isinstance(other, tuple):
        functions = _functions(own or other)
        if not functions and any(pair.sides[side].targets in TARGETS for side in SIDES):
            functions = ["softmax", "sigmoid"]
        yield y, functions, own
        return
    outputs = pair.several.get(which, ())
    ends = [each if isinstance(each, tuple) else (each,) * len(outputs) for each in (own, other)]
    for output, end, of_other in zip(outputs, *ends, strict=False):
        part = y[:, output.start : output.start + output.size]
        yield part, _functions(end or of_other), end


def _functions(end: str | None) -> list[str]:
    if not end:
        return []
    return ["softmax" if end == "log_softmax" else end]
