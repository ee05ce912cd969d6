"""Products with a kernel."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import PRODUCTS
from diptych.auditing.frameworks.tensorflow.operations.convolution import with_bias
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace


@reads(*PRODUCTS)
def product(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    kernel = trace.variable(core.inputs[1])
    first, second = ("transpose_a", "transpose_b") if core.type == "MatMul" else ("adj_x", "adj_y")
    if kernel is None or core.inputs[1].shape.rank != 2 or core.get_attr(first):
        return None
    layouts = {kernel: "transposed"} if core.get_attr(second) else {}
    return NodeDraft("dense", {}, with_bias(kernel, block), layouts)
