"""Blocks: the graph of a network, cut into pieces that have one output each."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.dominators import Dominators
from diptych.auditing.frameworks.tensorflow.operation_types import (
    ADDITIONS,
    BARRIERS,
    CONVOLUTIONS,
    NOT_ELEMENTWISE,
    POOLS,
    PRODUCTS,
    TRANSPOSED,
)
from diptych.auditing.frameworks.tensorflow.trace import Trace

Operation = Any
Tensor = Any


@dataclass
class Block:
    """Operations that have one output, and together do one thing or a part of it."""

    operations: list[Operation]
    inputs: list[Tensor]
    """Those that depend on x."""
    core: Operation
    """The operation that says what the block is; the last one where they all do."""
    bias: str | None = None
    """The name of the variable that is added at the end of a convolution or a product."""

    @property
    def output(self) -> Tensor:
        return self.operations[-1].outputs[0]

    @property
    def elementwise(self) -> bool:
        """True if it may be a part of a stretch of arithmetic."""
        several = len(self.operations) > 1 and self.core.type not in NOT_ELEMENTWISE
        return len(self.inputs) == 1 and (several or self.core.type not in NOT_ELEMENTWISE)


def cut(trace: Trace, output: Tensor) -> list[Block]:
    """The blocks from x to an output, in the order in which they run."""
    before = trace.ancestors([output]) & trace.on_x
    path = [o for o in trace.operations if o.name in before and o is not trace.x.op]
    consumers: dict[str, set[str]] = {}
    for operation in path:
        for tensor in trace.sources(operation):
            consumers.setdefault(tensor.op.name, set()).add(operation.name)

    dominators, blocks, taken = Dominators(trace), [], set[str]()
    for operation in reversed(path):
        if operation.name in taken:
            continue
        operations = [operation]
        if len(trace.sources(operation)) > 1:
            operations = one_stretch(dominators.region(operation), consumers) or [operation]
        taken |= {each.name for each in operations}
        blocks.append(Block(operations, outer_sources(trace, operations), operation))
    return joined(trace, blocks[::-1])


def one_stretch(region: list[Operation], consumers: dict[str, set[str]]) -> list[Operation] | None:
    """The region itself where it is arithmetic alone and nothing else looks into it, else None."""
    names = {operation.name for operation in region}
    arithmetic = not any(operation.type in BARRIERS for operation in region)
    closed = all(consumers[operation.name] <= names for operation in region[:-1])
    return region if arithmetic and closed else None


def outer_sources(trace: Trace, operations: list[Operation]) -> list[Tensor]:
    """The outside inputs of some operations that depend on x, each once."""
    inside = {operation.name for operation in operations}
    tensors = [tensor for operation in operations for tensor in trace.sources(operation)]
    return list({t.name: t for t in tensors if t.op.name not in inside}.values())


def joined(trace: Trace, blocks: list[Block]) -> list[Block]:
    """The blocks with those together that TensorFlow makes of one call, and layers' biases.

    A 1-D convolution is an ExpandDims, a Conv2D and a Squeeze; a product of a kernel with more than
    vectors has a Reshape on either side; channels are turned to the front by a Transpose.
    """
    makers = {block.output.name: block for block in blocks}

    def users(block: Block) -> list[Block]:
        return [b for b in blocks if any(t.name == block.output.name for t in b.inputs)]

    def put(after: Block, before: Block) -> None:
        """Makes the later one part of the earlier one."""
        before.operations += after.operations
        makers[before.output.name] = before
        blocks.remove(after)

    for block in list(blocks):
        maker = makers.get(block.inputs[0].name) if block.inputs else None
        following = users(block)
        wraps = {"Conv2D": "Squeeze", "DepthwiseConv2dNative": "Squeeze", "MatMul": "Reshape"}
        wraps |= dict.fromkeys(POOLS, "Squeeze")
        if (
            maker
            and maker.core.type == ("Reshape" if block.core.type == "MatMul" else "ExpandDims")
            and len(users(maker)) == 1
            and len(following) == 1
            and following[0].core.type == wraps.get(block.core.type)
            and following[0].output.shape.rank == maker.inputs[0].shape.rank
            and (block.core.type != "MatMul" or maker.inputs[0].shape.rank > 2)
        ):
            block.operations, block.inputs = maker.operations + block.operations, maker.inputs
            blocks.remove(maker)
            put(following[0], block)
        if (
            maker
            and block.core.type == "Reshape"
            and len(users(maker)) == 1
            and block.output.shape.rank == 2
            and turns_channels_first(maker.core)
        ):
            block.operations, block.inputs = maker.operations + block.operations, maker.inputs
            blocks.remove(maker)
        if block.core.type in CONVOLUTIONS | TRANSPOSED | PRODUCTS:
            following = users(block)
            bias = bias_of(trace, following[0], block) if len(following) == 1 else None
            if bias:
                put(following[0], block)
                block.bias = bias
    return blocks


def turns_channels_first(operation: Operation) -> bool:
    """True where an operation moves the last axis behind the examples, and no other."""
    if operation.type != "Transpose":
        return False
    order, rank = tf.get_static_value(operation.inputs[1]), operation.inputs[0].shape.rank
    return order is not None and [*order] == [0, rank - 1, *range(1, rank - 1)]


def bias_of(trace: Trace, block: Block, layer: Block) -> str | None:
    """The variable that the block adds to a layer, one number a unit; None where it does not."""
    if len(block.operations) > 1 or block.core.type not in ADDITIONS:
        return None
    for tensor in block.core.inputs:
        name = trace.variable(tensor)
        if name and math.prod(tensor.shape) == tensor.shape[-1] == layer.output.shape[-1]:
            return name
    return None
