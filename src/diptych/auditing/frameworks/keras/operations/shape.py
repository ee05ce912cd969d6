"""Layers that change shapes only, pad, or put axes in another order."""

from typing import Any

import numpy as np
from keras import layers

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


@reads("Flatten")
def flatten(layer: Any, call: ShapedCall) -> NodeDraft | None:
    turns = layer.data_format == "channels_first"  # Then it puts them last before it flattens.
    if np.prod(call.inputs[0][:-1]) == 1 or turns == call.channels_first:
        return draft("flatten", order="last")
    return draft("flatten", order="first") if call.channels_first else None


@reads("Reshape")
def reshape(layer: Any, call: ShapedCall) -> NodeDraft | None:
    shapes = (call.inputs[0], call.shape)
    if call.channels_first and any(len(shape) > 1 and shape[-1] != 1 for shape in shapes):
        return None  # In the graph's layout it would also change the order.
    return draft("reshape", shape=list(call.shape))


@reads("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    pixels = [layer.padding] if isinstance(layer, layers.ZeroPadding1D) else layer.padding
    return draft("pad", padding=[list(sides) for sides in pixels], mode="constant", value=0.0)


@reads("ops.Pad")
def padding(operation: Any, call: ShapedCall) -> NodeDraft | None:
    pairs = [list(pair) for pair in operation.pad_width]
    pairs = pairs * (len(call.inputs[0]) + 1) if len(pairs) == 1 else pairs
    value = call.argument("constant_values", 1)
    number = isinstance(value, int | float | None)
    if call.channels_first or any(pairs[0]) or any(pairs[-1]) or not number:
        return None
    known = {"constant", "reflect", "symmetric"}
    if operation.mode not in known:
        return None
    return draft("pad", padding=pairs[1:-1], mode=operation.mode, value=float(value or 0.0))


@reads("Permute", "ops.Transpose")
def permutation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    rank = len(call.inputs[0]) + 1
    if isinstance(layer, layers.Permute):
        order = [0, *layer.dims]
    else:
        order = list(layer.axes) if layer.axes else [*range(rank)][::-1]
    return _turned(call, [axis % rank for axis in order])


@reads("ops.Swapaxes")
def swap(operation: Any, call: ShapedCall) -> NodeDraft | None:
    order = list(range(len(call.inputs[0]) + 1))
    one, other = operation.axis1, operation.axis2
    order[one], order[other] = order[other], order[one]
    return _turned(call, order)


@reads("ops.Moveaxis")
def move(operation: Any, call: ShapedCall) -> NodeDraft | None:
    rank = len(call.inputs[0]) + 1
    axes = np.empty([2 + i for i in range(rank)])
    probe = np.moveaxis(axes, operation.source, operation.destination)
    return _turned(call, [size - 2 for size in probe.shape])


def _turned(call: ShapedCall, order: list[int]) -> NodeDraft | None:
    if call.channels_first or order[0] != 0:
        return None
    steps = [["transpose", [axis - 1 for axis in order[1:]]]]
    return draft("rearrange", shape=list(call.inputs[0]), steps=steps)


@reads("ops.Reshape", "ops.ExpandDims", "ops.Squeeze")
def other_shape(operation: Any, call: ShapedCall) -> NodeDraft | None:
    same = np.prod(call.inputs[0]) == np.prod(call.shape)
    if call.channels_first or not same:
        return None  # The batch goes into another axis, or the channels do.
    if len(call.shape) == 1 and len(call.inputs[0]) > 1:
        return draft("flatten", order="last")
    return draft("reshape", shape=list(call.shape))
