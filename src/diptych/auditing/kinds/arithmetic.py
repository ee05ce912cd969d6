"""Layers that combine their inputs elementwise, or join them."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Compute,
    Difference,
    Guesses,
    Kind,
    Parameters,
    Role,
    Rounding,
    Shape,
    Shapes,
)
from diptych.auditing.kinds.rounding import LAMBDA, exact, sum_of_terms


def _together(function: Callable[[Array, Array], Array]) -> Compute:
    """The computation of a kind that combines its inputs in pairs, from the first on."""

    def compute(
        node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
    ) -> Array:
        if len({x.ndim for x in inputs}) > 1:
            shapes = ", ".join(str(x.shape) for x in inputs)
            raise ValueError(f"inputs with other numbers of axes: {shapes}")
        return reduce(function, inputs)

    return compute


_add = _together(lambda x, y: x + y)


def _average(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return _add(node, parameters, inputs, training) / len(inputs)


def _product_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    return 2 * max(1, len(inputs)) * np.abs(y)


def _matmul(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    first, second = inputs
    return anp.matmul(first, second)


def _matmul_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    squares = np.matmul(*(np.square(x) for x in inputs))
    return LAMBDA * np.sqrt((inputs[0].shape[-1] + 1) * (squares + np.square(y)))


def _broadcast(x: Array, y: Array) -> Array:
    if x.shape != y.shape:
        raise ValueError(f"a parameter that makes {y.shape} of {x.shape}")
    return y


def _scale(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return _broadcast(inputs[0], inputs[0] * parameters["scale"])


def _offset(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return _broadcast(inputs[0], inputs[0] + parameters["offset"])


def _offset_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    return 2 * (np.abs(y) + np.abs(inputs[0]) + np.abs(parameters["offset"]))


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """A different kind of combination."""
    if a.kind == b.kind:
        return []
    changed = replace(a, kind=b.kind, attributes=b.attributes)
    return [Difference("layer-kind", a.kind, b.kind, changed=changed)]


def _rescale(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    scale, offset = (np.asarray(node.attributes[name], float) for name in ("scale", "offset"))
    return inputs[0] * scale + offset


def _concatenate(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    axis = node.attributes.get("axis", -1)
    return anp.concatenate(list(inputs), axis=-1 if axis == -1 else axis + 1)


def _axis_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    axes = [node.attributes.get("axis", -1) for node in (a, b)]
    if axes[0] == axes[1]:
        return []
    words = ["channels" if axis == -1 else f"axis {axis + 1}" for axis in axes]
    return [Difference("axis", *(f"concatenates along {word}" for word in words))]


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Scale and offset of the line through the points (x, y), by least squares."""
    spread = float(np.var(x))
    scale = float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else 1.0
    return scale, float(y.mean() - scale * x.mean())


def _rescale_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].shape != y.shape:
        return []
    scale, offset = line(inputs[0], y)
    return [replace(node, kind="rescale", attributes={"scale": scale, "offset": offset})]


def _of_several(kind: str, **attributes: int) -> Guesses:
    def guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
        return [replace(node, kind=kind, attributes=attributes)] if len(inputs) > 1 else []

    return guesses


def _does_nothing(node: Node, shape: Shape) -> bool:
    one = np.all(np.asarray(node.attributes["scale"]) == 1)
    return bool(one and not np.any(node.attributes["offset"]))


RESCALE = Kind(
    name="rescale",
    attributes={
        "scale": "a number, or a list by channel",
        "offset": "a number, or a list by channel; y = scale * x + offset",
    },
    words=lambda node: "rescale",
    compute=_rescale,
    rounding=sum_of_terms,
    guesses=_rescale_guesses,
    does_nothing=_does_nothing,
    keeps_order=True,
)
"""A scale and an offset for each value."""

_NAMES = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "average")


def _combination(name: str, compute: Compute, rounding: Rounding, keeps_sign: bool = True) -> Kind:
    return Kind(
        name=name,
        attributes={},
        words=lambda node: name,
        compute=compute,
        rounding=rounding,
        differences=_differences,
        guesses=_of_several(name),
        comparable=_NAMES,
        keeps_sign=keeps_sign,
    )


ADD = _combination("add", _add, sum_of_terms)
"""The sum of inputs that broadcast to each other."""
SUBTRACT = _combination("subtract", _together(lambda x, y: x - y), sum_of_terms, False)
"""The first input minus the others."""
MULTIPLY = _combination("multiply", _together(lambda x, y: x * y), _product_rounding)
"""The product of the inputs, such as a gate's (squeeze-and-excitation)."""
DIVIDE = _combination("divide", _together(lambda x, y: x / y), _product_rounding)
"""The first input divided by the others."""
MAXIMUM = _combination("maximum", _together(anp.maximum), exact)
"""The elementwise maximum of the inputs."""
MINIMUM = _combination("minimum", _together(anp.minimum), exact)
"""The elementwise minimum of the inputs."""
AVERAGE = _combination("average", _average, sum_of_terms)
"""The elementwise mean of the inputs."""

MATMUL = Kind(
    name="matmul",
    attributes={},
    words=lambda node: "product of matrices",
    compute=_matmul,
    rounding=_matmul_rounding,
    guesses=_of_several("matmul"),
)
"""The products (n, …, a, c) of matrices (n, …, a, b) and (n, …, b, c)."""

LEARNED_SCALE = Kind(
    name="learned_scale",
    attributes={},
    roles={
        "scale": Role(
            "(channels,), or another shape that broadcasts to the input's without the batch",
            stir="add",
        )
    },
    words=lambda node: "scale by a parameter",
    compute=_scale,
    rounding=_product_rounding,
)
"""The product with a parameter, such as a layer scale (Touvron et al., 2021)."""

LEARNED_OFFSET = Kind(
    name="learned_offset",
    attributes={},
    roles={
        "offset": Role(
            "(channels,), or another shape that broadcasts to the input's without the batch",
            initialiser="bias-initialiser",
            stir="add",
        )
    },
    words=lambda node: "add a parameter",
    compute=_offset,
    rounding=_offset_rounding,
)
"""The sum with a parameter, such as a position embedding."""

CONCATENATE = Kind(
    name="concatenate",
    attributes={"axis": "along which, counted without the batch; -1 for the channels"},
    words=lambda node: "concatenate",
    compute=_concatenate,
    rounding=exact,
    differences=_axis_differences,
    guesses=_of_several("concatenate", axis=-1),
    keeps_sign=True,
)
"""The inputs joined along an axis."""

KINDS = (
    RESCALE,
    ADD,
    SUBTRACT,
    MULTIPLY,
    DIVIDE,
    MAXIMUM,
    MINIMUM,
    AVERAGE,
    CONCATENATE,
    MATMUL,
    LEARNED_SCALE,
    LEARNED_OFFSET,
)
