"""Embeddings: rows of a variable."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace


@reads("GatherV2", "ResourceGather")
def embedding(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    kernel = trace.variable(core.inputs[0])
    whole = core.type == "ResourceGather" or tf.get_static_value(core.inputs[2]) == 0
    rank = block.output.shape.rank - core.inputs[1].shape.rank + 1  # The variable's.
    if kernel is None or not whole or rank != 2 or core.get_attr("batch_dims"):
        return None
    attributes = {"padding_index": None, "max_norm": None, "mask": False}
    return NodeDraft("embedding", attributes, {"kernel": kernel})
