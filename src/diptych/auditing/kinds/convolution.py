"""Convolution over any number of spatial axes, with strides, padding, dilation and groups."""

from collections.abc import Sequence

import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.correlation import Setting, convolve
from diptych.auditing.kinds.dense import unit_differences
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shapes,
    optional_role,
    times,
    with_attributes,
)
from diptych.auditing.kinds.rounding import dot_product
from diptych.auditing.kinds.windows import PADDING, STRIDES, mirrored_padding, window_differences


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


def differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """Filters, windows, dilation, groups and the bias."""
    differences = unit_differences(of_a, of_b)
    differences += window_differences(a, b, of_a["kernel"][:-2], of_b["kernel"][:-2])
    for name, code in (("dilation", "kernel-size"), ("groups", "units")):
        if a.attributes[name] != b.attributes[name]:
            words = [f"{name} {node.attributes[name]}" for node in (a, b)]
            differences.append(Difference(code, *words))
    return differences + optional_role("bias", of_a, of_b, "bias-missing", "a bias")


def with_padding_before(node: Node, pad: Node) -> Node:
    """The convolution with the padding of the layer before it."""
    both = zip(node.attributes["padding"], pad.attributes["padding"], strict=True)
    padding = [[own[0] + more[0], own[1] + more[1]] for own, more in both]
    return with_attributes(node, padding=padding)


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

KINDS = (CONV,)


def flipped(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a kernel is another one turned by 180 degrees, as Theano had them."""
    return a.ndim > 2 and np.allclose(a, np.flip(b, tuple(range(b.ndim - 2))), 1e-6, 0)
