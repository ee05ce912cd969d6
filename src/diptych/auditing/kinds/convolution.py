"""Convolution over any number of spatial axes, with strides, padding, dilation and groups, and its
transpose."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.correlation import Setting, convolve, convolve_transposed
from diptych.auditing.kinds.dense import unit_differences
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shape,
    Shapes,
    optional_role,
    times,
    with_attributes,
)
from diptych.auditing.kinds.padding import is_of_zeros, joined
from diptych.auditing.kinds.rounding import LAMBDA, dot_product
from diptych.auditing.kinds.windows import (
    PADDING,
    STRIDES,
    mirrored,
    mirrored_padding,
    padding_in_words,
    window_differences,
)


def compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    """The convolution of the padded input with the kernel, plus the bias."""
    attributes = node.attributes
    setting = Setting(
        tuple(attributes["strides"]),
        attributes["padding"],
        tuple(attributes["dilation"]),
        attributes["groups"],
    )
    y = convolve(inputs[0], parameters["kernel"], setting)
    return y + parameters["bias"] if "bias" in parameters else y


def _other_settings(a: Node, b: Node) -> list[Difference]:
    """Dilation and groups."""
    return [
        Difference(code, *(f"{name} {node.attributes[name]}" for node in (a, b)))
        for name, code in (("dilation", "kernel-size"), ("groups", "units"))
        if a.attributes[name] != b.attributes[name]
    ]


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Filters, windows, dilation, groups and the bias."""
    differences = unit_differences(of_a, of_b)
    differences += window_differences(a, b, of_a["kernel"][:-2], of_b["kernel"][:-2])
    differences += _other_settings(a, b)
    return differences + optional_role("bias", of_a, of_b, "bias-missing", "a bias")


def with_padding_before(node: Node, pad: Node, positive: bool) -> Node | None:
    """The convolution with the zero padding of the preceding layer included."""
    if not is_of_zeros(pad):
        return None
    return with_attributes(node, padding=joined(node, pad))


def _result_shape(node: Node, x: Shape, kernel: Shape) -> tuple[Shape, Setting]:
    """The full result of a transposed convolution for an input (n, *spatial, channels), before
    cropping: its shape, and the setting of the convolution that maps it back to the input."""
    attributes = node.attributes
    strides, dilation = tuple(attributes["strides"]), tuple(attributes["dilation"])
    spatial = [
        (size - 1) * stride + (extent - 1) * step + 1
        for size, stride, extent, step in zip(x[1:-1], strides, kernel[:-2], dilation, strict=True)
    ]
    setting = Setting(strides, [[0, 0]] * len(spatial), dilation, attributes["groups"])
    return (x[0], *spatial, kernel[-2] * attributes["groups"]), setting


def compute_transposed(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    """Each value times the kernel, summed where they overlap, cropped, plus the bias."""
    (x,), kernel = inputs, parameters["kernel"]
    shape, setting = _result_shape(node, tuple(x.shape), tuple(kernel.shape))
    y = convolve_transposed(x, kernel, shape, setting)
    for axis, (before, after) in enumerate(node.attributes["cropping"], 1):
        more = [(0, 0)] * y.ndim
        more[axis] = (max(0, -before), max(0, -after))
        y = anp.pad(y, more, "constant")
        kept = slice(max(0, before), y.shape[axis] - max(0, after))
        y = y[(*[slice(None)] * axis, kept)]
    return y + parameters["bias"] if "bias" in parameters else y


def _transposed_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    squares = compute_transposed(
        node,
        {role: np.square(value) for role, value in parameters.items()},
        [np.square(inputs[0])],
        training,
    )
    *window, _, filters = parameters["kernel"].shape
    terms = float(np.prod(window)) * filters / node.attributes["groups"] + 1
    return LAMBDA * np.sqrt(terms * (squares + np.square(y)))


def _cropping_in_words(node: Node) -> str:
    words = padding_in_words(node.attributes["cropping"])
    return words.replace("no padding", "no cropping").replace("padding", "cropping")


def transposed_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Filters, windows, strides, cropping, dilation, groups and the bias."""
    units = [of["kernel"][-2] * n.attributes["groups"] for of, n in ((of_a, a), (of_b, b))]
    differences = []
    if units[0] != units[1]:
        differences.append(Difference("units", *(f"{count} units" for count in units)))
    windows = [list(of["kernel"][:-2]) for of in (of_a, of_b)]
    if windows[0] != windows[1]:
        differences.append(Difference("kernel-size", times(windows[0]), times(windows[1])))
    strides = [list(node.attributes["strides"]) for node in (a, b)]
    if strides[0] != strides[1]:
        differences.append(Difference("stride", times(strides[0]), times(strides[1])))
    differences += _other_settings(a, b)
    if not differences and a.attributes["cropping"] != b.attributes["cropping"]:
        changed = with_attributes(a, cropping=b.attributes["cropping"])
        words = [_cropping_in_words(node) for node in (a, b)]
        differences.append(Difference("padding", *words, changed=changed))
    return differences + optional_role("bias", of_a, of_b, "bias-missing", "a bias")


def _other_crops(node: Node) -> list[tuple[str, Node]]:
    """The hypotheses that the same amount is cropped, but more of it on the other side."""
    totals = [sum(crop) for crop in node.attributes["cropping"]]
    crops = [mirrored(node.attributes["cropping"])]
    crops.append([[total // 2, total - total // 2] for total in totals])
    crops.append([[total - total // 2, total // 2] for total in totals])
    return [("padding", with_attributes(node, cropping=crop)) for crop in crops]


CONV = Kind(
    name="conv",
    attributes={
        "strides": STRIDES,
        "padding": PADDING,
        "dilation": "list of int, one per spatial axis",
        "groups": "int; the input's channels and the filters are divided into so many groups",
    },
    roles={
        "kernel": Role("(*window, channels / groups, filters)"),
        "bias": Role("(filters,)", required=False, initialiser="bias-initialiser", stir="add"),
    },
    words=lambda node: f"convolution to {times(node.shape)}",
    compute=compute,
    rounding=dot_product(compute),
    differences=differences,
    hypotheses=lambda node, x, y: mirrored_padding(node),
    absorbs={"pad": with_padding_before},
)
"""Convolution (a cross-correlation: the kernel is not flipped)."""

CONV_TRANSPOSE = Kind(
    name="conv_transpose",
    attributes={
        "strides": STRIDES,
        "cropping": "[[before, after], …] in pixels that are cut off each spatial axis of the "
        "whole result; zeros are added where it is negative, and an output padding cuts off less "
        "behind",
        "dilation": CONV.attributes["dilation"],
        "groups": "int; the input's channels and the filters are divided into so many groups",
    },
    roles={
        "kernel": Role("(*window, filters / groups, channels)"),
        "bias": Role("(filters,)", required=False, initialiser="bias-initialiser", stir="add"),
    },
    words=lambda node: f"transposed convolution to {times(node.shape)}",
    compute=compute_transposed,
    rounding=_transposed_rounding,
    differences=transposed_differences,
    hypotheses=lambda node, x, y: _other_crops(node),
)
"""Transposed convolution: the gradient of a convolution to its input (Zeiler et al., 2010)."""

KINDS = (CONV, CONV_TRANSPOSE)


def flipped(a: np.ndarray, b: np.ndarray) -> bool:
    """True if a kernel is another one rotated by 180 degrees, as in Theano."""
    return a.ndim > 2 and np.allclose(a, np.flip(b, tuple(range(b.ndim - 2))), 1e-6, 0)
