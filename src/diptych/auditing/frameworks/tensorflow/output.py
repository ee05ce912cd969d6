"""The end of the network inside a loss: where its arithmetic becomes the loss's."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

from diptych.auditing.frameworks.tensorflow.dominators import Dominators
from diptych.auditing.frameworks.tensorflow.operation_types import (
    CROSS_ENTROPIES,
    LOSS_ARITHMETIC,
    RESHAPES,
)
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.errors import InputError

Operation = Any
Tensor = Any


def network_output(trace: Trace) -> tuple[Tensor, tuple[int, ...]]:
    """The network's output: the last tensor that depends on x alone, the loss's arithmetic undone.

    Returns:
        The tensor, and the shape in which the loss holds it against the targets.
    """
    loss = trace.result
    if loss.op.name not in trace.on_x:
        raise InputError("its loss(x, y) does not depend on x: expected the loss of the network")
    before = trace.ancestors([loss])
    operations = [operation for operation in trace.operations if operation.name in before]
    entropies = [operation for operation in operations if operation.type in CROSS_ENTROPIES]
    if entropies and entropies[-1].inputs[0].op.name not in trace.on_y:
        tensor = entropies[-1].inputs[0]
    else:
        tensor = last_on_x_alone(trace, operations)
    shape = tuple(tensor.shape)
    while (further := through_loss_arithmetic(trace, tensor)) is not None:
        tensor = further
    return tensor, shape


def last_on_x_alone(trace: Trace, operations: list[Operation]) -> Tensor:
    """The tensor through which the loss depends on x: the one that everything goes through, or else
    the last one."""
    dominators, operation = Dominators(trace), trace.result.op
    while operation.name in trace.on_y:
        operation = dominators.nearest[operation.name]
    if operation is not trace.x.op:
        return operation.outputs[0]
    met = [
        tensor
        for each in operations
        if each.name in trace.on_y
        for tensor in trace.sources(each)
        if tensor.op.name not in trace.on_y
    ]
    return met[-1]


def through_loss_arithmetic(trace: Trace, tensor: Tensor) -> Tensor | None:
    """The tensor before it where it was made by what belongs to a loss, else None."""
    operation, sources = tensor.op, trace.sources(tensor.op)
    if operation.type not in LOSS_ARITHMETIC or len(sources) != 1:
        return None
    if trace.variables_of([operation]):
        return None
    if operation.type in RESHAPES or operation.type == "StridedSlice":
        before, after = ([size for size in t.shape if size != 1] for t in (sources[0], tensor))
        return sources[0] if before == after else None
    return sources[0]
