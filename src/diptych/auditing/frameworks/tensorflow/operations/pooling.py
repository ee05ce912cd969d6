"""Pools over windows, and over all of an image."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import GLOBAL_POOLS, POOLS
from diptych.auditing.frameworks.tensorflow.operations.convolution import channels_last, pixels
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace


@reads(*POOLS)
def pool(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    if not channels_last(core):
        return None
    size = list(core.get_attr("ksize"))[1:3]
    attributes: dict[str, Any] = {
        "size": size,
        "strides": list(core.get_attr("strides"))[1:3],
        "padding": pixels(core, size, [1, 1]),
    }
    if block.inputs[0].shape.rank == 3:
        attributes = {key: value[1:] for key, value in attributes.items()}
    if core.type == "AvgPool":
        attributes["count_padding"] = False
    return NodeDraft(POOLS[core.type], attributes)


@reads(*GLOBAL_POOLS)
def global_pool(trace: Trace, block: Block) -> NodeDraft | None:
    rank = block.inputs[0].shape.rank
    axes = np.atleast_1d(tf.get_static_value(block.core.inputs[1])) % rank
    if rank < 3 or sorted(axes) != list(range(1, rank - 1)):
        return None
    return NodeDraft(GLOBAL_POOLS[block.core.type])
