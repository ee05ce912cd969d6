"""Activation functions, by name."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Callable, Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import erf, expit
from autograd.tracer import getval

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Shape,
    Shapes,
    differ,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
"""Klambauer et al., 2017, "Self-Normalizing Neural Networks"."""


def _expm1_below(x: Array) -> Array:
    """expm1(x) up to zero; 0 above it, so that nothing overflows."""
    return anp.expm1(anp.where(x <= 0, x, 0.0))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + anp.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def log_softmax(x: Array) -> Array:
    """The logarithm of the softmax over the last axis."""
    z = x - np.max(getval(x), axis=-1, keepdims=True)  # A constant: softmax is invariant to it.
    return z - anp.log(anp.sum(anp.exp(z), axis=-1, keepdims=True))


def softmax(x: Array) -> Array:
    """The softmax over the last axis."""
    powers = anp.exp(x - np.max(getval(x), axis=-1, keepdims=True))
    return powers / anp.sum(powers, axis=-1, keepdims=True)


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    return anp.logaddexp(x, 0.0)


PLAIN: dict[str, Callable[[Array], Array]] = {
    # At a kink, as in the frameworks, the gradient is the left one's; `where` has it so.
    "relu": lambda x: anp.where(x > 0, x, 0.0),
    "selu": lambda x: SELU_SCALE * anp.where(x < 0, SELU_ALPHA * _expm1_below(x), x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "tanh": anp.tanh,
    "sigmoid": expit,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softplus": softplus,
    "silu": lambda x: x * expit(x),
    "relu6": lambda x: anp.where((x > 0) & (x < 6), x, anp.where(x > 0, 6.0, 0.0)),
    "exponential": anp.exp,
    "linear": lambda x: x,
}
"""Activation functions without a parameter; ``gelu`` is the exact one."""

SLOPED: dict[str, Callable[[Array, float], Array]] = {
    "leaky_relu": lambda x, slope: anp.where(x > 0, x, slope * x),
    "elu": lambda x, slope: anp.where(x > 0, x, slope * _expm1_below(x)),
}
"""Activation functions with a number of their own: leaky_relu's slope on the negative side, elu's
alpha (1 if there is none)."""

FUNCTIONS = (*PLAIN, *SLOPED)
POSITIVE = ("relu", "relu6", "sigmoid", "softmax", "softplus", "exponential")
"""Functions that give no negative numbers."""
FINAL = ("softmax", "sigmoid", "log_softmax")
"""Activations that, behind the last layer, belong to the loss: which of the two applies them is a
matter of style."""


def activate(function: str, slope: float | None, x: Array) -> Array:
    """Applies the function of this name.

    Raises:
        ValueError: there is no such function.
    """
    if function in SLOPED:
        return SLOPED[function](x, 1.0 if slope is None else slope)
    if function not in PLAIN:
        raise ValueError(f"no activation function {function}")
    return PLAIN[function](x)


def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The function of each number; softmax and its logarithm are over the last axis."""
    return activate(node.attributes["function"], node.attributes.get("slope"), inputs[0])


def rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """Frameworks compute functions to within some units in the last place."""
    (x,), function = inputs, node.attributes["function"]
    if function in ("relu", "relu6", "linear"):
        return 2 * np.abs(y)
    if "softmax" in function:
        return FUNCTION_UNITS * (np.abs(y) + 1) * (1 + np.max(np.abs(x), initial=0.0))
    extent = 0.0 if function == "leaky_relu" else 1.0
    return FUNCTION_UNITS * (np.abs(y) + np.minimum(np.abs(x), 1.0) * extent + extent * 0.25)


def words(node: Node) -> str:
    """The function, with its slope if it has one."""
    slope = node.attributes["slope"]
    of = f" with slope {slope:.6g}" if slope is not None else ""
    return f"{node.attributes['function']}{of}"


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The function and its slope."""
    if a.attributes["function"] != b.attributes["function"]:
        changed = with_those_of(a, b, "function", "slope")
        return [Difference("activation", words(a), words(b), changed=changed)]
    if differ(a.attributes["slope"], b.attributes["slope"]):
        changed = with_those_of(a, b, "slope")
        return [Difference("activation-slope", words(a), words(b), changed=changed)]
    return []


def candidates(node: Node, x: np.ndarray, y: np.ndarray) -> list[Node]:
    """Activation functions that may turn x into y; slopes are taken from the numbers."""
    kind = replace(node, kind="activation")
    functions = [
        replace(kind, attributes={"function": function, "slope": None})
        for function in PLAIN
        if function != "linear"
    ]
    negative = x < -1e-3
    if np.any(negative):
        slope = float(np.median(y[negative] / x[negative]))
        alpha = float(np.median(y[negative] / np.expm1(x[negative])))
        for function, value in (("leaky_relu", slope), ("elu", alpha)):
            near = float(np.round(value, 4))  # What somebody would have written.
            functions += [
                replace(kind, attributes={"function": function, "slope": number})
                for number in dict.fromkeys((near, float(np.float32(near)), value))
            ]
    return functions


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other functions, and other slopes of the same one."""
    code = "activation-slope" if node.attributes["slope"] is not None else "activation"
    function = node.attributes["function"]
    return [
        (code if candidate.attributes["function"] == function else "activation", candidate)
        for candidate in candidates(node, x, y)
    ]


def _guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].shape != y.shape:
        return []
    return [linear(node), *candidates(node, inputs[0], y)]


def linear(node: Node) -> Node:
    """The node as one that passes its input on."""
    return replace(node, kind="activation", attributes={"function": "linear", "slope": None})


def _does_nothing(node: Node, shape: Shape) -> bool:
    return node.attributes["function"] == "linear"


ACTIVATION = Kind(
    name="activation",
    attributes={
        "function": f"one of {', '.join(FUNCTIONS)}",
        "slope": "leaky_relu's on the negative side, elu's alpha; None for the others",
    },
    words=words,
    compute=compute,
    rounding=rounding,
    differences=differences,
    hypotheses=_hypotheses,
    guesses=_guesses,
    does_nothing=_does_nothing,
    keeps_order=True,
    is_positive=lambda node: node.attributes["function"] in POSITIVE,
)
"""An activation function, apart from the layer that it was an argument of."""

KINDS = (ACTIVATION,)
