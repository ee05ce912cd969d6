"""Activation functions: elementwise or along an axis, also with learned slopes."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Iterator, Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.curves import AXIS, COMMON, FUNCTIONS, PLAIN, POSITIVE, activate
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shape,
    Shapes,
    differ,
    times,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS
from diptych.auditing.special import expit

FINAL = ("softmax", "sigmoid", "log_softmax")
"""Activations that may be part of the loss after the last layer; it does not count which of the two
applies them."""
_CHOOSES = ("relu", "relu6", "linear", "absolute", "hard_shrink", "clip", "threshold")
_SUBTRACTS = ("tanh_shrink", "capped_relu", "soft_shrink", "squareplus", "log_sigmoid")
"""Pairs of functions that differ little near the input."""


def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The function of each number; softmax and its logarithm are over an axis."""
    attributes = node.attributes
    return activate(
        attributes["function"],
        attributes.get("slope"),
        inputs[0],
        attributes.get("limits"),
        attributes.get("axis", -1),
    )


def rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """Frameworks compute functions to within a few units in the last place."""
    (x,), function = inputs, node.attributes["function"]
    if function in _CHOOSES:
        return 2 * np.abs(y)
    if function in AXIS:
        return FUNCTION_UNITS * (np.abs(y) + 1) * (1 + np.max(np.abs(x), initial=0.0))
    if function in _SUBTRACTS:
        return FUNCTION_UNITS * (np.abs(y) + np.abs(x) + 0.25)
    extent = 0.0 if function in ("leaky_relu", "square", "square_root") else 1.0
    return FUNCTION_UNITS * (np.abs(y) + np.minimum(np.abs(x), 1.0) * extent + extent * 0.25)


def words(node: Node) -> str:
    """The function, with its slope, limits or axis if they are not the defaults."""
    if node.kind == "prelu":
        return "PReLU"
    function, slope = node.attributes["function"], node.attributes.get("slope")
    text = function + (f" with slope {slope:.6g}" if slope is not None else "")
    if limits := node.attributes.get("limits"):
        numbers = ("none" if limit is None else f"{limit:.6g}" for limit in limits)
        text += f" with limits {', '.join(numbers)}"
    axis = node.attributes.get("axis", -1)
    if axis == -1:
        return text
    of_batch = -axis > len(node.shape)
    return f"{text} over the batch" if of_batch else f"{text} over axis {axis}"


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The function, its slope, limits and axis; for PReLU, the number of slopes."""
    if a.kind == b.kind == "prelu":
        shapes = [of["slope"] for of in (of_a, of_b)]
        if shapes[0] == shapes[1]:
            return []
        return [Difference("activation", *(f"PReLU with {_slopes(shape)}" for shape in shapes))]
    if a.kind != b.kind:
        return [Difference("activation", words(a), words(b))]
    changed = replace(a, attributes=b.attributes)
    one, other = a.attributes, b.attributes
    if one["function"] != other["function"] or one.get("axis", -1) != other.get("axis", -1):
        return [Difference("activation", words(a), words(b), changed=changed)]
    if differ(one.get("slope"), other.get("slope")):
        return [Difference("activation-slope", words(a), words(b), changed=changed)]
    limits = zip(one.get("limits", ()), other.get("limits", ()), strict=True)
    if any(differ(*pair) for pair in limits):
        return [Difference("activation-limits", words(a), words(b), changed=changed)]
    return []


def candidates(node: Node, x: np.ndarray, y: np.ndarray) -> list[Node]:
    """Activation functions that may turn x into y; slopes are recovered from the values."""
    names = [*PLAIN, *AXIS]
    settings = [{"function": name, "slope": None} for name in names if name != "linear"]
    negative = x < -1e-3
    if np.any(negative):
        slope = float(np.median(y[negative] / x[negative]))
        alpha = float(np.median(y[negative] / np.expm1(x[negative])))
        for function, value in (("leaky_relu", slope), ("elu", alpha)):
            near = float(np.round(value, 4))  # What somebody would have written.
            numbers = dict.fromkeys((near, float(np.float32(near)), value))
            settings += [{"function": function, "slope": number} for number in numbers]
    settings += [
        {"function": function, "slope": number}
        for function, numbers in COMMON.items()
        for number in numbers
    ]
    settings += [{"function": "clip", "slope": None, "limits": limits} for limits in _limits(x, y)]
    kind = replace(node, kind="activation", parameters={})
    return [usual(replace(kind, attributes=each), node.shape) for each in settings]


def _limits(x: np.ndarray, y: np.ndarray) -> Iterator[list[float | None]]:
    """The lowest and the highest value, if there are values beyond them."""
    if x.shape != y.shape or not y.size:
        return
    low, high = (float(np.round(value, 4)) for value in (y.min(), y.max()))
    below, above = x.min() < low, x.max() > high
    if below or above:
        yield [low if below else None, high if above else None]


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other functions, and other slopes or limits of the same one."""
    function, own = node.attributes["function"], "activation"
    if "limits" in node.attributes:
        own = "activation-limits"
    elif node.attributes.get("slope") is not None:
        own = "activation-slope"
    return [
        (own if candidate.attributes["function"] == function else "activation", candidate)
        for candidate in candidates(node, x, y)
    ]


def _guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].shape != y.shape:
        return []
    return [linear(node), *candidates(node, inputs[0], y)]


def linear(node: Node) -> Node:
    """The node as one that passes its input on."""
    attributes = {"function": "linear", "slope": None}
    return replace(node, kind="activation", attributes=attributes, parameters={})


def usual(node: Node, shape: Shape) -> Node:
    """Functions that have a different name with these limits or this slope."""
    function, slope = node.attributes["function"], node.attributes.get("slope")
    limits = list(node.attributes.get("limits", ()))
    match function, limits:
        case ("clip", [0, None]) | ("threshold", [0, 0]):
            name = "relu"
        case ("clip", [0, 6]):
            name = "relu6"
        case _ if (function, slope) == ("celu", 1):
            return replace(node, attributes={"function": "elu", "slope": 1.0})
        case _ if (function, slope) == ("softplus", 1):
            name = "softplus"
        case _:
            return node
    return replace(node, attributes={"function": name, "slope": None})


def _ends(node: Node) -> tuple[float, float] | None:
    """The lowest and the highest value of a function that only clips; None for others."""
    match node.attributes["function"]:
        case "relu":
            return 0.0, np.inf
        case "relu6":
            return 0.0, 6.0
        case "clip":
            low, high = node.attributes["limits"]
            return -np.inf if low is None else low, np.inf if high is None else high
    return None


def _cut_off_twice(node: Node, before: Node, positive: bool) -> Node | None:
    """One function for two clipping functions in sequence."""
    inner, outer = _ends(before), _ends(node)
    if inner is None or outer is None:
        return None
    ends = [float(np.clip(end, *outer)) for end in inner]
    limits = [end if np.isfinite(end) else None for end in ends]
    return replace(node, attributes={"function": "clip", "slope": None, "limits": limits})


def _does_nothing(node: Node, shape: Shape) -> bool:
    return node.attributes["function"] == "linear"


ACTIVATION = Kind(
    name="activation",
    attributes={
        "function": f"one of {', '.join(FUNCTIONS)}",
        "slope": "the number of the function, such as leaky_relu's slope on the negative side; "
        "None for those that have none",
        "limits": "two numbers of clip, threshold and capped_relu; missing for the others",
        "axis": "negative int, the axis of softmax and its logarithm, which may be the batch; the "
        "last one if missing",
    },
    optional=frozenset({"limits", "axis"}),
    words=words,
    compute=compute,
    rounding=rounding,
    differences=differences,
    hypotheses=_hypotheses,
    guesses=_guesses,
    comparable=("prelu",),
    does_nothing=_does_nothing,
    usual=usual,
    absorbs={"activation": _cut_off_twice},
    keeps_order=True,
    is_positive=lambda node: node.attributes["function"] in POSITIVE,
)
"""An activation function, separate from the layer that it was an argument of."""


def _prelu(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (x,), slope = inputs, parameters["slope"]
    y = anp.where(x > 0, x, slope * x)
    if y.shape != x.shape:
        raise ValueError(f"slopes of the shape {slope.shape} for inputs of {x.shape}")
    return y


def _prelu_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    return 2 * np.abs(y)


def _slopes(shape: Shape) -> str:
    if len(shape) > 1:
        return f"one slope for each of {times(shape)} values"
    channels = times(shape)
    return "one slope" if channels == "1" else f"one slope for each of {channels} channels"


PRELU = Kind(
    name="prelu",
    attributes={},
    roles={
        "slope": Role(
            "(1,), (channels,), or the input's shape without the batch, of which axes may be 1",
            initialiser="slope-initialiser",
            stir="add",
        )
    },
    words=words,
    compute=_prelu,
    rounding=_prelu_rounding,
    differences=differences,
    comparable=("activation",),
    keeps_order=True,
)
"""A leaky ReLU with learned slopes (He et al., 2015)."""


def _glu(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    first, second = anp.split(inputs[0], 2, axis=node.attributes["axis"])
    return first * expit(second)


def _glu_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    return FUNCTION_UNITS * np.abs(y)


def _glu_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].size != 2 * y.size:
        return []
    return [replace(node, kind="glu", attributes={"axis": axis}) for axis in range(-1, -y.ndim, -1)]


GLU = Kind(
    name="glu",
    attributes={"axis": "negative int, the axis that is halved"},
    words=lambda node: "gated linear unit",
    compute=_glu,
    rounding=_glu_rounding,
    guesses=_glu_guesses,
)
"""One half of the channels times the sigmoid of the other (Dauphin et al., 2017)."""

KINDS = (ACTIVATION, PRELU, GLU)
