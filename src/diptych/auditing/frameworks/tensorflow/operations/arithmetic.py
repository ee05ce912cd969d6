"""Sums and concatenations of several inputs; scales and offsets."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.behaviour import Stretch, close
from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import JOINS
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.auditing.frameworks.tensorflow.trying import restored, varied


@reads(*JOINS)
def join(trace: Trace, block: Block) -> NodeDraft | None:
    alike = all(tensor.shape.rank == block.output.shape.rank for tensor in block.inputs)
    everything = 1 < len(block.inputs) == len(block.core.inputs)
    return NodeDraft(JOINS[block.core.type]) if alike and everything else None


@reads("ConcatV2")
def concatenate(trace: Trace, block: Block) -> NodeDraft | None:
    rank, axis = block.output.shape.rank, int(tf.get_static_value(block.core.inputs[-1]))
    everything = 1 < len(block.inputs) == len(block.core.inputs) - 1
    if not everything or axis % rank == 0:
        return None
    last = axis % rank == rank - 1
    return NodeDraft("concatenate", {"axis": -1 if last else axis % rank - 1})


def rescale(stretch: Stretch) -> NodeDraft | None:
    """y = scale * x + offset, the same for all numbers or for all of a channel."""
    x = stretch.numbers(-2, 2)
    y = stretch(x)
    # Where a hard sigmoid is no line, and a limit of any size is reached.
    far = x if stretch.input.dtype.is_integer else max(32.0, stretch.reach) * x
    there = stretch(far)
    axes = tuple(range(x.ndim - 1))
    for over in (None, axes):
        middle, height = x.mean(over, keepdims=True), y.mean(over, keepdims=True)
        scale = ((x - middle) * (y - height)).sum(over, keepdims=True) / np.maximum(
            ((x - middle) ** 2).sum(over, keepdims=True), 1e-12
        )
        offset = height - scale * middle
        line = close(stretch, y, scale * x + offset)
        if line and np.all(scale) and close(stretch, there, scale * far + offset):
            break
    else:
        return None
    size = np.max(np.abs(y))
    offset = np.where(np.abs(offset) < stretch.tolerance * size, 0.0, offset)
    scales, offsets = (
        [stretch.written(float(value)) for value in values.ravel()] for values in (scale, offset)
    )
    if len(scales) == 1:
        if abs(scales[0] - 1) <= stretch.tolerance and not offsets[0]:
            return NodeDraft("nothing")
        return NodeDraft("rescale", {"scale": scales[0], "offset": offsets[0]})
    return NodeDraft("rescale", {"scale": scales, "offset": offsets})


def with_parameter(stretch: Stretch, variables: dict[str, tf.Variable]) -> NodeDraft | None:
    """A sum or a product with one variable."""
    if len(variables) != 1:
        return None
    [(name, variable)] = variables.items()
    x = stretch.numbers(-2, 2)
    if variable.shape.rank >= x.ndim:
        return None
    with restored(variables):
        value, y = varied(variables)[name], stretch(x)
    ways = {("learned_scale", "scale"): x * value, ("learned_offset", "offset"): x + value}
    for (kind, role), expected in ways.items():
        if expected.shape == x.shape and close(stretch, y, expected):
            return NodeDraft(kind, {}, {role: name})
    return None
