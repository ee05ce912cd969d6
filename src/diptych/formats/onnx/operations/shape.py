"""Operations that move numbers without computing: copies, transposition, reshaping, padding."""

from typing import Any

import numpy as np

from diptych.formats.onnx.activations import ELEMENTWISE
from diptych.formats.onnx.opening import onnx
from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.views import (
    FIRST,
    LAST,
    View,
    channels_first,
    channels_first_order,
    order_of,
    reshaped,
    shape_of,
)

CHANNELS_FIRST = (
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization"),
    *("GlobalAveragePool", "GlobalMaxPool", "Resize", "InstanceNormalization"),
)
"""Operators that take their channels first."""
MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
"""By ONNX's name, how `Pad` fills."""
COPIES = ("Identity", "Dropout", "Cast")


@reads("Identity")
def identity(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Identity.html"""
    view = operation.view()
    return view is not None and operation.alias(view)


@reads("Cast")
def cast(operation: Operation, to: int, saturate: int = 1, round_mode: str = "up") -> bool:
    """https://onnx.ai/onnx/operators/onnx__Cast.html"""
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(to)).kind
    return kind == "f" and identity(operation)


@reads("Transpose")
def transpose(operation: Operation, perm: list[int] | None = None) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Transpose.html"""
    view = operation.view()
    assert view is not None
    order = perm or range(len(view.axes))[::-1]
    return operation.alias(view, tuple(view.axes[i] for i in order))


@reads("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(operation: Operation, **attributes: Any) -> bool:
    """Whatever keeps the numbers in their order in the tensor; the new shape was observed.

    https://onnx.ai/onnx/operators/onnx__Reshape.html and the like.
    """
    view, file = operation.view(), operation.file
    before, after = file.shape(operation.inputs[0]), file.shape(operation.output)
    kept = [i for i, axis in enumerate(view.axes) if axis is not None] if view else []
    if view is not None and after == tuple(before[i] for i in kept):
        return operation.alias(view, tuple(view.axes[i] for i in kept))
    if view is None or not after or view.axes[0] != 0 or before[0] != after[0]:
        return False
    if len(after) == 2 and len(view.shape) > 1:
        orders = {LAST: sorted(order_of(view)), FIRST: channels_first_order(view)}
        order = next((name for name, order in orders.items() if order_of(view) == order), None)
        return order is not None and operation.emit("flatten", [view], (0, 1), order=order)
    if [n for n in before[1:] if n > 1] == [n for n in after[1:] if n > 1]:
        return operation.alias(view, reshaped(view, before, after))
    first = _feeds_channels_first(operation, operation.output)
    axes = channels_first(len(after)) if first else tuple(range(len(after)))
    shape = shape_of(after, axes)
    result = View("", operation.output, axes, shape)
    if all(order_of(each) == sorted(order_of(each)) for each in (view, result)):
        return operation.emit("reshape", [view], axes, shape=list(shape))
    if sorted(axis for axis in view.axes if axis is not None) != list(range(len(view.axes))):
        return False
    steps: list[list[Any]] = [
        ["transpose", [axis - 1 for axis in view.axes[1:] if axis]],
        ["reshape", list(after[1:])],
        ["transpose", [axes.index(axis) - 1 for axis in range(1, len(axes))]],
    ]
    return operation.emit("rearrange", [view], axes, shape=list(view.shape), steps=steps)


def _feeds_channels_first(operation: Operation, tensor: str) -> bool:
    """True if the next operation that cares takes a tensor's channels first."""
    for node in operation.file.nodes:
        if tensor in node.input:
            if node.op_type in CHANNELS_FIRST:
                return True
            if node.op_type in (*ELEMENTWISE, *COPIES):
                return _feeds_channels_first(operation, node.output[0])
    return False


@reads("Pad")
def pad(
    operation: Operation, mode: str = "constant", pads: list[int] | None = None, value: float = 0.0
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Pad.html; since version 11, only the mode is an
    attribute."""
    view = operation.view()
    assert view is not None
    amounts, fill, axes = (operation.constant(position) for position in (1, 2, 3))
    pads = amounts.tolist() if amounts is not None else pads
    if pads is None or mode not in MODES:
        return False
    rank = len(view.axes)
    padded = range(rank) if axes is None else [int(i) % rank for i in axes]
    pairs = {i: [pads[k], pads[k + len(padded)]] for k, i in enumerate(padded)}
    by_axis = {view.axes[i]: pair for i, pair in pairs.items() if any(pair)}
    spatial = range(1, len(view.shape))
    if not set(by_axis) <= set(spatial) or any(n < 0 for pair in by_axis.values() for n in pair):
        return False
    padding = [by_axis.get(axis, [0, 0]) for axis in spatial]
    shape = [n + sum(p) for n, p in zip(view.shape, [*padding, [0, 0]], strict=True)]
    settings = {"mode": MODES[mode], "value": float(fill.item() if fill is not None else value)}
    return operation.emit("pad", [view], view.axes, tuple(shape), padding=padding, **settings)
