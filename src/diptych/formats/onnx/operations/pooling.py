"""Pooling, with windows and over whole images."""

from collections.abc import Iterable
from typing import Any

from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.operations.selection import reduced
from diptych.formats.onnx.operations.windows import chosen, paddings


@reads("MaxPool")
def max_pool(
    operation: Operation,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    storage_order: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__MaxPool.html"""
    if any(dilation != 1 for dilation in dilations or ()):
        return False
    return _pool(operation, "max_pool", kernel_shape, strides, pads, auto_pad, ceil_mode)


@reads("AveragePool")
def average_pool(
    operation: Operation,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    count_include_pad: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__AveragePool.html"""
    if any(dilation != 1 for dilation in dilations or ()):
        return False
    return _pool(
        operation,
        "average_pool",
        kernel_shape,
        strides,
        pads,
        auto_pad,
        ceil_mode,
        count_padding=bool(count_include_pad),
    )


def _pool(
    operation: Operation,
    kind: str,
    windows: list[int],
    strides: list[int] | None,
    pads: list[int] | None,
    auto_pad: str,
    ceil_mode: int,
    **more: Any,
) -> bool:
    strides = strides or [1] * len(windows)
    before, after = (
        operation.file.shape(tensor)[2:] for tensor in (operation.inputs[0], operation.output)
    )
    padding = paddings(before, windows, strides, [1] * len(windows), pads, auto_pad)
    if ceil_mode:
        ends = [
            (count - 1) * stride + window - size - front
            for count, stride, window, size, (front, _) in zip(
                after, strides, windows, before, padding, strict=True
            )
        ]
        longer = [[p[0], max(p[1], end)] for p, end in zip(padding, ends, strict=True)]
        if longer != padding and more.get("count_padding"):
            return False  # Pixels beyond the padding do not count, those of the padding do.
        padding = longer
    view, kept = operation.channels_first(windows)
    settings = {"size": windows, "strides": strides, "padding": padding}
    settings = {key: chosen(value, kept) for key, value in settings.items()}
    return operation.emit(kind, [view], view.axes, **settings, **more)


@reads("GlobalAveragePool")
def global_average_pool(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html"""
    view, _ = operation.channels_first()
    return _global(operation, "global_average_pool", range(2, len(view.axes)), True)


@reads("GlobalMaxPool")
def global_max_pool(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html"""
    view, _ = operation.channels_first()
    return _global(operation, "global_max_pool", range(2, len(view.axes)), True)


@reads("ReduceMean")
def reduce_mean(
    operation: Operation,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ReduceMean.html"""
    return _reduce(operation, "global_average_pool", axes, keepdims)


@reads("ReduceMax")
def reduce_max(
    operation: Operation,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ReduceMax.html"""
    return _reduce(operation, "global_max_pool", axes, keepdims)


def _reduce(operation: Operation, kind: str, axes: list[int] | None, keepdims: int) -> bool:
    view, constant = operation.view(), operation.constant(1)
    axes = constant.tolist() if constant is not None else axes
    if view is None or not axes:
        return False
    over = [i % len(view.axes) for i in axes]
    if _global(operation, kind, over, bool(keepdims)):
        return True
    function = "mean" if kind == "global_average_pool" else "max"
    return reduced(operation, function, axes, keepdims)


def _global(operation: Operation, kind: str, over: Iterable[int], kept: bool) -> bool:
    """Pools over some of a tensor's axes, which must be all spatial ones of the array."""
    view = operation.view()
    if view is None or len(view.shape) < 2:
        return False
    over = set(over)
    left = {axis for i, axis in enumerate(view.axes) if i not in over and axis is not None}
    long = {axis for axis, size in enumerate(view.shape, 1) if size > 1}
    if not left <= {0, len(view.shape)} or not long <= set(view.axes):
        return False
    axes: list[int | None] = []
    for i, axis in enumerate(view.axes):
        if i in over and not kept:
            continue
        axes.append({0: 0, len(view.shape): 1}.get(axis) if axis is not None else None)
    return operation.emit(kind, [view], tuple(axes), view.shape[-1:])
