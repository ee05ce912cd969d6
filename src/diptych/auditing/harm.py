"""The harm that a difference does to a training, by its cause. Findings are listed in this order.

A different function, loss, data or step does most harm, in the order of the stages. Initial weights
of a similar size mostly lead to the same result on a different path. The epsilon of an optimiser,
or one row of an embedding, rarely has a visible effect.
"""

LARGE, MODERATE, SMALL = "large", "moderate", "small"
ORDER = (LARGE, MODERATE, SMALL)
BY_CAUSE = {
    "batchnorm-epsilon": MODERATE,
    "batchnorm-initialiser": MODERATE,
    "bias-initialiser": MODERATE,
    "epsilon": SMALL,
    "kernel-initialiser": MODERATE,
    "last-batch": SMALL,
    "normalisation-epsilon": MODERATE,
    "normalisation-initialiser": MODERATE,
    "padding-index": SMALL,
    "repeated-tokens": MODERATE,
    "slope-initialiser": MODERATE,
}
"""The causes that do less harm than others."""
FAR = 3.0
"""The ratio of the standard deviations of kernels from which outputs differ in size."""


def of_cause(code: str) -> str:
    """The usual harm of a cause."""
    return BY_CAUSE.get(code, LARGE)


def of_deviations(code: str, a: float, b: float) -> str:
    """The harm of initial values with different standard deviations.

    Args:
        code: the cause; only kernels' deviations say how large outputs are.
        a: the deviation of side A's values; 0 if all are the same.
        b: that of side B's.
    """
    if code == "kernel-initialiser" and max(a, b) > FAR * min(a, b):
        return LARGE
    return of_cause(code)
