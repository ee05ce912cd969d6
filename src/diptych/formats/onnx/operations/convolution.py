"""Convolutions."""

from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.operations.windows import chosen, paddings


@reads("Conv")
def convolution(
    operation: Operation,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Conv.html"""
    kernel, has_bias = operation.constant(1), operation.takes(2)
    if kernel is None or (has_bias and operation.constant(2) is None):
        return False
    windows = kernel.shape[2:]
    ones = [1] * len(windows)
    view, kept = operation.channels_first(windows)
    sizes = operation.file.shape(view.tensor)[2:]
    padding = paddings(sizes, windows, strides or ones, dilations or ones, pads, auto_pad)
    order = (*range(2, kernel.ndim), 1, 0)
    shape = (*chosen(windows, kept), kernel.shape[1], kernel.shape[0])
    parameters = {"kernel": operation.weight(1, order, shape)}
    if has_bias:
        parameters["bias"] = operation.weight(2)
    return operation.emit(
        "conv",
        [view],
        view.axes,
        parameters=parameters,
        strides=chosen(strides or ones, kept),
        padding=chosen(padding, kept),
        dilation=chosen(dilations or ones, kept),
        groups=group,
    )


@reads("ConvTranspose")
def transposed_convolution(
    operation: Operation,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    pads: list[int] | None = None,
    dilations: list[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ConvTranspose.html"""
    kernel, has_bias = operation.constant(1), operation.takes(2)
    if kernel is None or (has_bias and operation.constant(2) is None):
        return False
    if auto_pad not in ("NOTSET", "", "VALID") or output_shape:
        return False
    axes = kernel.ndim - 2
    ones, view = [1] * axes, operation.channels_first()[0]
    cut, more = pads or [0] * 2 * axes, output_padding or [0] * axes
    parameters = {"kernel": operation.weight(1, (*range(2, kernel.ndim), 1, 0))}
    if has_bias:
        parameters["bias"] = operation.weight(2)
    return operation.emit(
        "conv_transpose",
        [view],
        view.axes,
        parameters=parameters,
        strides=strides or ones,
        cropping=[[cut[i], cut[i + axes] - more[i]] for i in range(axes)],
        dilation=dilations or ones,
        groups=group,
    )
