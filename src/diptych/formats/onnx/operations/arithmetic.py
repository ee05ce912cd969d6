"""Arithmetic: with a constant (a bias, a scale, an offset) or between branches."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.formats.onnx.operation import NodeDraft, Operation, as_written, reads
from diptych.formats.onnx.views import View


@reads("Add")
def add(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Add.html"""
    position = _constant_position(operation)
    if position is None:
        return add_branches(operation)
    view = operation.view(1 - position)
    if view is not None and _bias(operation, view, position):
        return True
    return _rescale(operation, lambda value: (1.0, value), position)


@reads("Sub")
def subtract(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Sub.html"""
    position = _constant_position(operation)
    if position is None:
        return _joined(operation, "subtract")
    if position == 0:
        return _rescale(operation, lambda value: (-1.0, value), 0)
    return position == 1 and _rescale(operation, lambda value: (1.0, -value), 1)


@reads("Mul")
def multiply(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Mul.html"""
    position = _constant_position(operation)
    if position is None:
        return _joined(operation, "multiply")
    return _rescale(operation, lambda value: (value, 0.0), position)


@reads("Div")
def divide(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Div.html"""
    position = _constant_position(operation)
    if position is None:
        return _joined(operation, "divide")
    return position == 1 and _rescale(operation, lambda value: (1.0 / value, 0.0), 1)


@reads("Max")
def maximum(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Max.html"""
    return _joined(operation, "maximum")


@reads("Min")
def minimum(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Min.html"""
    return _joined(operation, "minimum")


@reads("Mean")
def average(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Mean.html"""
    return _joined(operation, "average")


@reads("Neg")
def negate(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Neg.html"""
    view = operation.view()
    if view is None:
        return False
    return operation.emit_elementwise("rescale", view, scale=-1.0, offset=0.0)


@reads("Sum")
def add_branches(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Sum.html"""
    return _joined(operation, "add")


def _joined(operation: Operation, kind: str) -> bool:
    """Makes a node of several tensors that broadcast to each other, all with as many axes."""
    views = [operation.view(position) for position in range(len(operation.inputs))]
    known = [view for view in views if view is not None]
    ranks = {len(operation.file.shape(name)) for name in operation.inputs}
    if len(known) != len(views) or len(ranks) > 1 or len(known) < 2:
        return False
    first = max(known, key=lambda view: int(np.prod(view.shape)))
    aligned = [operation.laid_out(view, first.axes) for view in known]
    if any(len(view.shape) != len(first.shape) for view in aligned):
        return False
    return operation.emit(kind, aligned, first.axes, first.shape)


@reads("Concat")
def concatenate(operation: Operation, axis: int) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Concat.html"""
    views = [operation.view(position) for position in range(len(operation.inputs))]
    known = [view for view in views if view is not None]
    if len(known) != len(views):
        return False
    first, *others = known
    aligned = [first, *(operation.laid_out(view, first.axes) for view in others)]
    where = first.axes[axis % len(first.axes)]
    if not where or None in first.axes:
        return False
    where = -1 if where == len(first.shape) else where - 1
    return operation.emit("concatenate", aligned, first.axes, axis=where)


def _constant_position(operation: Operation) -> int | None:
    """Which of two inputs is constant, if one of them is."""
    constant = [i for i in (0, 1) if operation.constant(i) is not None]
    return constant[0] if len(constant) == 1 else None


def _rescale(operation: Operation, change: Callable[[Any], tuple[Any, Any]], position: int) -> bool:
    """Makes a node y = scale * x + offset; ``change`` gives the two for a constant."""
    view, constant = operation.view(1 - position), operation.constant(position)
    if view is None or constant is None:
        return False
    value = _by_channel(constant, view)
    if value is None:
        return False
    scale, offset = (
        each.tolist() if isinstance(each, np.ndarray) else each for each in change(value)
    )
    return operation.emit_elementwise("rescale", view, scale=scale, offset=offset)


def _bias(operation: Operation, view: View, position: int) -> bool:
    """Takes an addition for the bias of the layer before it, where it can be that."""
    value, draft = operation.constant(position), operation.reader.drafts.get(view.node)
    if value is None or draft is None or draft.kind not in ("conv", "conv_transpose", "dense"):
        return False
    if "bias" in draft.parameters or _by_channel(value, view) is None:
        return False
    if value.size != draft.output.shape[-1] or not _is_only_use(operation, view, draft):
        return False
    draft.parameters["bias"] = operation.weight(position, shape=(value.size,))
    operation.alias(view)
    draft.output = operation.reader.views[operation.output]
    return True


def _is_only_use(operation: Operation, view: View, draft: NodeDraft) -> bool:
    """True if nothing else takes the node's output."""
    file, name = operation.file, view.tensor
    while file.uses[name] == 1 and name != draft.output.tensor:
        producer = file.node_of(name)
        assert producer is not None
        name = producer.input[0]
    return file.uses[name] == 1


def _by_channel(value: np.ndarray, view: View) -> Any:
    """A constant that is combined with a tensor: a number, or an array with one for each channel;
    None where it is neither."""
    if value.ndim > len(view.axes):
        return None
    if value.size == 1:
        return as_written(value.item())
    shape = (1,) * (len(view.axes) - value.ndim) + value.shape
    long = [view.axes[i] for i, size in enumerate(shape) if size > 1]
    return value.ravel() if long == [len(view.shape)] else None
