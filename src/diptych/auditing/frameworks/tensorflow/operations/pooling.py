"""Pools over windows, and over all of an image."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import GLOBAL_POOLS, POOLS, REDUCTIONS
from diptych.auditing.frameworks.tensorflow.operations.convolution import channels_last, pixels
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace


@reads(*POOLS)
def pool(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    if not channels_last(core):
        return None
    size = list(core.get_attr("ksize"))[1:-1]
    attributes: dict[str, Any] = {
        "size": size,
        "strides": list(core.get_attr("strides"))[1:-1],
        "padding": pixels(core, size, [1] * len(size)),
    }
    if block.inputs[0].shape.rank == 3:
        attributes = {key: value[1:] for key, value in attributes.items()}
    if core.type.startswith("AvgPool"):
        attributes["count_padding"] = False
    return NodeDraft(POOLS[core.type], attributes)


@reads(*REDUCTIONS)
def reduction(trace: Trace, block: Block) -> NodeDraft | None:
    """A function over axes; over all of an image it is a global pool."""
    rank = block.inputs[0].shape.rank
    axes = tf.get_static_value(block.core.inputs[1])
    if axes is None:
        return None
    over = sorted(int(axis) % rank for axis in np.atleast_1d(axes))
    if not over or 0 in over:
        return None
    function, kept = REDUCTIONS[block.core.type], bool(block.core.get_attr("keep_dims"))
    if over == list(range(1, rank - 1)) and function in GLOBAL_POOLS and not kept:
        return NodeDraft(GLOBAL_POOLS[function])
    axes = [axis - 1 for axis in over]
    return NodeDraft("reduce", {"function": function, "over": axes, "keepdims": kept})
