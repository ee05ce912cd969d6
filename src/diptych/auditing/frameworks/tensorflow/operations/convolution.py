"""Convolutions, of images and of signals, and depthwise ones."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from collections.abc import Sequence
from typing import Any

from diptych.auditing.frameworks.defaults import same_padding
from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import CONVOLUTIONS, TRANSPOSED
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace

Operation = Any
Shape = Sequence[int]


@reads(*CONVOLUTIONS)
def convolution(trace: Trace, block: Block) -> NodeDraft | None:
    core, shape = block.core, block.core.inputs[0].shape
    kernel = trace.variable(core.inputs[1])
    if kernel is None or not channels_last(core):
        return None
    depthwise = core.type == "DepthwiseConv2dNative"
    one = block.inputs[0].shape.rank == 3
    window = core.inputs[1].shape[:-2]
    dilation = list(core.get_attr("dilations"))[1:-1]
    groups = shape[-1] if depthwise else shape[-1] // core.inputs[1].shape[-2]
    attributes = {
        "strides": list(core.get_attr("strides"))[1:-1],
        "padding": pixels(core, window, dilation),
        "dilation": dilation,
        "groups": int(groups),
    }
    if one:
        attributes |= {key: attributes[key][1:] for key in ("strides", "padding", "dilation")}
    layouts = {kernel: "depthwise"} if depthwise else {}
    return NodeDraft("conv", attributes, with_bias(kernel, block), layouts)


@reads(*TRANSPOSED)
def transposed(trace: Trace, block: Block) -> NodeDraft | None:
    core, given, made = block.core, block.core.inputs[2].shape, block.output.shape
    kernel = trace.variable(core.inputs[1])
    if kernel is None or not channels_last(core) or block.inputs[0].name != core.inputs[2].name:
        return None
    window, strides, dilation = (
        [int(size) for size in sizes]
        for sizes in (
            core.inputs[1].shape[:-2],
            list(core.get_attr("strides"))[1:-1],
            list(core.get_attr("dilations"))[1:-1],
        )
    )
    same = core.get_attr("padding") == b"SAME"
    if None in made[1:-1] or (not same and core.get_attr("padding") != b"VALID"):
        return None
    cropping = []
    for i, wanted in enumerate(int(size) for size in made[1:-1]):
        whole = (int(given[i + 1]) - 1) * strides[i] + (window[i] - 1) * dilation[i] + 1
        before = max(0, whole - wanted) // 2 if same else 0
        cropping.append([before, whole - wanted - before])
    attributes = {"strides": strides, "cropping": cropping, "dilation": dilation, "groups": 1}
    return NodeDraft("conv_transpose", attributes, with_bias(kernel, block))


def channels_last(operation: Operation) -> bool:
    return operation.get_attr("data_format") in (b"NHWC", "NHWC", b"NDHWC", "NDHWC")


def with_bias(kernel: str, block: Block) -> dict[str, str]:
    return {"kernel": kernel} | ({"bias": block.bias} if block.bias else {})


def pixels(operation: Operation, window: Shape, dilation: Shape) -> list[list[int]]:
    """An operation's padding in pixels, by its own words."""
    padding = operation.get_attr("padding")
    if padding == b"EXPLICIT":
        explicit = list(operation.get_attr("explicit_paddings"))
        return [explicit[2:4], explicit[4:6]]
    if padding == b"VALID":
        return [[0, 0] for _ in window]
    strides = list(operation.get_attr("strides"))[1:-1]
    return same_padding(operation.inputs[0].shape[1:-1], window, strides, dilation)
