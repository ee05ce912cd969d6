"""Operations that move numbers and leave them as they are."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import PADS, PASSES, RESHAPES
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace


@reads(*RESHAPES)
def reshape(trace: Trace, block: Block) -> NodeDraft | None:
    before, after = list(block.inputs[0].shape), list(block.output.shape)
    first = False
    if block.operations[0].type == "Transpose":
        turned = list(tf.get_static_value(block.operations[0].inputs[1]))
        rank = len(before)
        if turned != [0, rank - 1, *range(1, rank - 1)] or len(after) != 2:
            return None
        first = rank > 2
    if after == before:
        return NodeDraft("nothing")
    if after[:1] != before[:1]:
        return None
    if len(after) == 2 and len(before) > 2:
        return NodeDraft("flatten", {"order": "first" if first else "last"})
    return NodeDraft("reshape", {"shape": after[1:]})


@reads(*PADS)
def pad(trace: Trace, block: Block) -> NodeDraft | None:
    padding = np.array(tf.get_static_value(block.core.inputs[1])).tolist()
    with_zeros = block.core.type == "Pad" or not np.any(tf.get_static_value(block.core.inputs[2]))
    if not with_zeros or any(padding[0]) or any(padding[-1]):
        return None
    return NodeDraft("pad", {"padding": padding[1:-1], "mode": "constant", "value": 0.0})


@reads(*PASSES)
def nothing(trace: Trace, block: Block) -> NodeDraft | None:
    return NodeDraft("nothing")
