"""How much a difference does to a training, by its cause: findings are listed in this order.

Another function, another loss, other data and other steps do most, in the order of the stages.
Initial weights of a similar size mostly lead to the same place on another path. An optimiser's
epsilon, or one row of an embedding, rarely shows at all.
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
    "slope-initialiser": MODERATE,
}
"""The causes that do less than most."""
FAR = 3.0
"""Kernels whose deviations differ by this factor give outputs of another size."""


def of_cause(code: str) -> str:
    """The harm that a cause does as a rule."""
    return BY_CAUSE.get(code, LARGE)


def of_deviations(code: str, a: float, b: float) -> str:
    """The harm of initial values of other deviations, as both sides have them.

    Args:
        code: the cause; only kernels' deviations say how large outputs are.
        a: the deviation of side A's values; 0 if all are the same.
        b: that of side B's.
    """
    if code == "kernel-initialiser" and max(a, b) > FAR * min(a, b):
        return LARGE
    return of_cause(code)
