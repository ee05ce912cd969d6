"""Convolutions, and separable ones, which are two."""

# Keras' annotations lack its layers' attributes.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from typing import Any

import keras
from keras import layers

from diptych.auditing.frameworks.defaults import same_padding
from diptych.auditing.frameworks.keras.arrays import Shape
from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.layer_classes import computes_as

SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D, *SEPARABLE)


def padded(
    padding: str, spatial: Shape, window: Shape, strides: Shape, dilation: Shape
) -> list[list[int]]:
    """The pixels that Keras adds before and after each spatial axis; the same on all backends."""
    if padding == "valid":
        return [[0, 0] for _ in spatial]
    if padding == "causal":
        return [[dilation[0] * (window[0] - 1), 0]]
    return same_padding(spatial, window, strides, dilation)


@reads("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D")
def convolution(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    *spatial, channels = call.inputs[0]
    depthwise = isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D)
    return draft(
        "conv",
        {"kernel": layer.kernel, "bias": layer.bias},
        strides=list(layer.strides),
        padding=padded(
            layer.padding, tuple(spatial), layer.kernel_size, layer.strides, layer.dilation_rate
        ),
        dilation=list(layer.dilation_rate),
        groups=channels if depthwise else layer.groups,
    )


@reads("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    per_axis = zip(
        call.inputs[0][:-1],
        call.shape[:-1],
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
        strict=True,
    )
    cropping = []
    for size, wanted, window, stride, step in per_axis:
        beyond = (size - 1) * stride + (window - 1) * step + 1 - wanted
        # The smaller half is cut off in front; `valid` cuts off nothing and may add zeros behind.
        before = max(0, beyond // 2) if layer.padding == "same" else 0
        cropping.append([before, beyond - before])
    return draft(
        "conv_transpose",
        {"kernel": layer.kernel, "bias": layer.bias},
        strides=list(layer.strides),
        cropping=cropping,
        dilation=list(layer.dilation_rate),
        groups=1,
    )


def is_separable(layer: Any) -> bool:
    """True if a layer is two convolutions: each channel by itself, then all of a pixel."""
    known = next((cls for cls in type(layer).__mro__ if cls in SEPARABLE), None)
    return bool(known) and computes_as(layer, known) and layer.data_format == "channels_last"


def separated(layer: Any, call: ShapedCall) -> tuple[ShapedCall, NodeDraft, NodeDraft]:
    """The call of a separable convolution's first one, and the drafts of both."""
    *spatial, channels = call.inputs[0]
    ones, pixels = [1] * len(spatial), [[0, 0]] * len(spatial)
    first = draft(
        "conv",
        {"kernel": layer.depthwise_kernel},
        strides=list(layer.strides),
        padding=padded(
            layer.padding, tuple(spatial), layer.kernel_size, layer.strides, layer.dilation_rate
        ),
        dilation=list(layer.dilation_rate),
        groups=channels,
    )
    second = draft(
        "conv",
        {"kernel": layer.pointwise_kernel, "bias": layer.bias},
        strides=ones,
        padding=pixels,
        dilation=ones,
        groups=1,
    )
    shape = (*call.shape[:-1], channels * layer.depth_multiplier)
    return ShapedCall(layer, None, call.inputs, shape, call.channels_first), first, second


def depthwise(layer: Any, x: Any) -> Any:
    """Computes a separable convolution's first one."""
    return keras.ops.depthwise_conv(
        keras.ops.cast(x, layer.compute_dtype),
        keras.ops.cast(layer.depthwise_kernel, layer.compute_dtype),
        layer.strides,
        layer.padding,
        layer.data_format,
        layer.dilation_rate,
    )


def pointwise(layer: Any, x: Any) -> Any:
    """Computes a separable convolution's second one, before its activation."""
    y = keras.ops.conv(x, layer.pointwise_kernel, 1, "valid", layer.data_format)
    return y if layer.bias is None else y + layer.bias


def kernel_shape(layer: Any) -> Shape | None:
    """The shape that the graph gives a depthwise kernel, which Keras has as (…, channels,
    multiplier); None for any other layer."""
    if not isinstance(layer, DEPTHWISE):
        return None
    kernel = layer.depthwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel
    *window, channels, multiplier = kernel.shape
    return (*window, 1, channels * multiplier)
