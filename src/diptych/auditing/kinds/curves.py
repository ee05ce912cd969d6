"""Activation functions by name, as formulas."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Callable, Sequence

import autograd.numpy as anp
import numpy as np
from autograd.tracer import getval

from diptych.auditing.kinds.kind import Array
from diptych.auditing.special import erf, expit

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
"""Klambauer et al., 2017, "Self-Normalizing Neural Networks"."""
Limits = Sequence[float | None]


def _expm1_below(x: Array) -> Array:
    """expm1(x) up to zero; 0 above it, to avoid overflow."""
    return anp.expm1(anp.where(x <= 0, x, 0.0))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + anp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """The logarithm of the softmax over an axis."""
    z = x - np.max(getval(x), axis=axis, keepdims=True)  # A constant: softmax is invariant to it.
    return z - anp.log(anp.sum(anp.exp(z), axis=axis, keepdims=True))


def softmax(x: Array, axis: int = -1) -> Array:
    """The softmax over an axis."""
    powers = anp.exp(x - np.max(getval(x), axis=axis, keepdims=True))
    return powers / anp.sum(powers, axis=axis, keepdims=True)


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return anp.logaddexp(x, 0.0)


def _clip(x: Array, low: float | None, high: float | None) -> Array:
    x = x if low is None else anp.where(x > low, x, low)
    return x if high is None else anp.where(x < high, x, high)


def _sparse_plus(x: Array) -> Array:
    return anp.where(x >= 1, x, anp.where(x > -1, 0.25 * (x + 1) ** 2, 0.0))


AXIS: dict[str, Callable[[Array, int], Array]] = {"softmax": softmax, "log_softmax": log_softmax}
"""Functions of all values along an axis."""

PLAIN: dict[str, Callable[[Array], Array]] = {
    # At a kink, as in the frameworks, the gradient is the left one's; `where` has it so.
    "relu": lambda x: anp.where(x > 0, x, 0.0),
    "selu": lambda x: SELU_SCALE * anp.where(x < 0, SELU_ALPHA * _expm1_below(x), x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "tanh": anp.tanh,
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "relu6": lambda x: anp.where((x > 0) & (x < 6), x, anp.where(x > 0, 6.0, 0.0)),
    "hard_swish": lambda x: x * _clip(x / 6 + 0.5, 0.0, 1.0),
    "mish": lambda x: x * anp.tanh(softplus(x)),
    "softsign": lambda x: x / (1 + anp.abs(x)),
    "log_sigmoid": lambda x: -softplus(-x),
    "tanh_shrink": lambda x: x - anp.tanh(x),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: _clip(0.5 * (x + 1), 0.0, 1.0),
    "exponential": anp.exp,
    "square": lambda x: x**2,
    "absolute": anp.abs,
    "square_root": anp.sqrt,
    "reciprocal_root": lambda x: 1 / anp.sqrt(x),
    "logarithm": anp.log,
    "linear": lambda x: x,
}
"""Activation functions without a parameter, and functions of arithmetic; ``gelu`` is the exact
one."""

SLOPED: dict[str, Callable[[Array, float], Array]] = {
    "leaky_relu": lambda x, slope: anp.where(x > 0, x, slope * x),
    "elu": lambda x, alpha: anp.where(x > 0, x, alpha * _expm1_below(x)),
    "celu": lambda x, alpha: anp.where(x > 0, x, alpha * _expm1_below(x / alpha)),
    "softplus": lambda x, beta: softplus(beta * x) / beta,
    "squareplus": lambda x, b: (x + anp.sqrt(x**2 + b)) / 2,
    "hard_sigmoid": lambda x, slope: _clip(slope * x + 0.5, 0.0, 1.0),
    "hard_shrink": lambda x, width: anp.where(anp.abs(x) > width, x, 0.0),
    "soft_shrink": lambda x, width: anp.where(
        x > width, x - width, anp.where(x < -width, x + width, 0.0)
    ),
}
"""Activation functions with a parameter: leaky_relu's slope on the negative side, elu's and celu's
alpha, softplus' beta, squareplus' b, hard_sigmoid's slope, and half the width of the zero range of
shrink functions."""

LIMITED: dict[str, Callable[[Array, float | None, Limits], Array]] = {
    "clip": lambda x, _, limits: _clip(x, *limits),
    "threshold": lambda x, _, limits: anp.where(x > limits[0], x, limits[1]),
    "capped_relu": lambda x, slope, limits: anp.where(
        x > limits[0], _clip(x, None, limits[1]), (slope or 0.0) * (x - limits[0])
    ),
}
"""Activation functions with two limits: the lowest and the highest number; the threshold, and the
number below it; the threshold, below which there is a slope, and the highest number. The lowest and
the highest may be None."""

COMMON: dict[str, tuple[float, ...]] = {
    "celu": (1.0,),
    "softplus": (1.0,),
    "squareplus": (4.0,),
    "hard_sigmoid": (1 / 6, 0.2),
    "hard_shrink": (0.5,),
    "soft_shrink": (0.5,),
}
"""The default parameters of frameworks.

Keras 2 and ONNX have a hard sigmoid of slope 0.2, Keras 3 and PyTorch one of 1/6.
"""

FUNCTIONS = (*PLAIN, *AXIS, *SLOPED, *LIMITED)
POSITIVE = ("relu", "relu6", "sigmoid", "softmax", "softplus", "exponential")
"""Functions whose values are never negative."""


def activate(
    function: str,
    slope: float | None,
    x: Array,
    limits: Limits | None = None,
    axis: int = -1,
) -> Array:
    """Applies the function of this name.

    Args:
        function: one of `FUNCTIONS`.
        slope: the number of those in `SLOPED`; 1 if it is None.
        x: any shape.
        limits: of those in `LIMITED`.
        axis: of those in `AXIS`.

    Raises:
        ValueError: there is no such function.
    """
    if function in SLOPED:
        return SLOPED[function](x, 1.0 if slope is None else slope)
    if function in LIMITED:
        return LIMITED[function](x, slope, limits or (None, None))
    if function in AXIS:
        return AXIS[function](x, axis)
    if function not in PLAIN:
        raise ValueError(f"no activation function {function}")
    return PLAIN[function](x)
