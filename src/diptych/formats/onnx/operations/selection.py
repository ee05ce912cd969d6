"""Slices, splits, repetitions, and functions over axes."""

import numpy as np

from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.views import Axes, View


@reads("Slice")
def part(
    operation: Operation,
    starts: list[int] | None = None,
    ends: list[int] | None = None,
    axes: list[int] | None = None,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Slice.html; since version 10, all are inputs."""
    view, limits = operation.view(), [starts, ends, axes, None]
    for i in range(4):
        constant = operation.constant(i + 1)
        if constant is not None:
            limits[i] = [int(value) for value in constant.ravel()]
        elif operation.takes(i + 1):
            return False
    first, last, over, steps = limits
    if view is None or first is None or last is None:
        return False
    over = list(range(len(first))) if over is None else over
    steps = [1] * len(first) if steps is None else steps
    index: dict[int, slice] = {}
    for axis, start, end, step in zip(over, first, last, steps, strict=True):
        # Far beyond the end, backwards, is the first pixel too.
        backwards = step < 0 and end < -operation.file.shape(view.tensor)[axis]
        index[axis % len(view.axes)] = slice(start, None if backwards else end, step)
    return _sliced(operation, view, index, operation.output)


@reads("Split")
def split(
    operation: Operation,
    axis: int = 0,
    split: list[int] | None = None,
    num_outputs: int | None = None,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Split.html; the sizes were observed."""
    view, start, done = operation.view(), 0, True
    if view is None:
        return False
    for output in operation.node.output:
        length = operation.file.shape(output)[axis]
        where = {axis % len(view.axes): slice(start, start + length)}
        done, start = done and _sliced(operation, view, where, output), start + length
    return done


def one_place(operation: Operation, axis: int) -> bool:
    """A ``Gather`` of one index along an axis, which the output lacks."""
    view, where = operation.view(), operation.constant(1)
    if view is None or where is None or where.ndim or not _whole(view):
        return False
    dropped = view.axes[axis % len(view.axes)]
    if not dropped:
        return False
    size = view.shape[dropped - 1]
    at = int(where) % size
    slices = [[0, length, 1] for length in view.shape]
    slices[dropped - 1] = [at, at + 1, 1]
    axes = _without(view.axes, {dropped})
    return operation.emit("slice", [view], axes, slices=slices, dropped=[dropped - 1])


@reads("Tile")
def tile(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Tile.html"""
    view, counts = operation.view(), operation.constant(1)
    if view is None or counts is None or not _whole(view) or counts[view.axes.index(0)] != 1:
        return False
    by_axis = [int(counts[view.axes.index(axis)]) for axis in range(1, len(view.axes))]
    return operation.emit(
        "repeat", [view], view.axes, shape=list(view.shape), counts=by_axis, each=False
    )


@reads("ReduceSum")
def reduce_sum(
    operation: Operation,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ReduceSum.html"""
    return reduced(operation, "sum", axes, keepdims)


@reads("ReduceMin")
def reduce_min(
    operation: Operation,
    axes: list[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ReduceMin.html"""
    return reduced(operation, "min", axes, keepdims)


def reduced(operation: Operation, function: str, axes: list[int] | None, keepdims: int) -> bool:
    """Makes a node of a function over some of a tensor's axes."""
    view, constant = operation.view(), operation.constant(1)
    axes = constant.tolist() if constant is not None else axes
    if view is None or not axes or not _whole(view):
        return False
    over = {view.axes[i % len(view.axes)] for i in axes}
    if 0 in over:
        return False
    left = view.axes if keepdims else _without(view.axes, over)
    numbers = sorted(axis - 1 for axis in over if axis)
    settings = {"function": function, "over": numbers, "keepdims": bool(keepdims)}
    return operation.emit("reduce", [view], left, **settings)


def _whole(view: View) -> bool:
    """True if a tensor has each axis of the array, and no other."""
    return sorted(-1 if axis is None else axis for axis in view.axes) == list(
        range(len(view.shape) + 1)
    )


def _without(axes: Axes, dropped: set[int | None]) -> Axes:
    """The axes of a tensor that lacks some of the array's, which the array lacks as well."""
    left = [axis for axis in axes if axis not in dropped]
    ranks = np.argsort(np.argsort([-1 if axis is None else axis for axis in left]))
    return tuple(int(rank) for rank in ranks)


def _sliced(operation: Operation, view: View, index: dict[int, slice], output: str) -> bool:
    if not _whole(view) or any(view.axes[i] == 0 for i in index):
        return False
    slices: list[list[int | None]] = [[0, length, 1] for length in view.shape]
    for i, what in index.items():
        axis = (view.axes[i] or 0) - 1
        start, stop, step = what.indices(view.shape[axis])
        slices[axis] = [start, None if stop < 0 else stop, step]
    return operation.emit("slice", [view], view.axes, output=output, slices=slices, dropped=[])
