"""Convolutions."""

from collections.abc import Sequence

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST, per_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import KERNEL, PLAIN
from diptych.auditing.frameworks.torch.trace import Event

Sizes = int | Sequence[int]


@reads("conv1d", "conv2d", "conv3d")
def convolution(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> bool:
    value = drafts.activation(event, input)
    axes = input.ndim - 2
    if value is None or value.layout != FIRST:
        return False
    window, strides, steps = (per_axis(axes, v) for v in (weight.shape[2:], stride, dilation))
    parameters = drafts.roles(event, kernel=(weight, KERNEL), bias=(bias, PLAIN))
    if parameters is None:
        return False
    if padding == "same":
        # The half that is smaller is in front.
        totals = [step * (size - 1) for step, size in zip(steps, window, strict=True)]
        pads = [[total // 2, total - total // 2] for total in totals]
    else:
        pads = [[pad, pad] for pad in per_axis(axes, 0 if padding == "valid" else padding)]
    attributes = {"strides": strides, "padding": pads, "dilation": steps, "groups": groups}
    return drafts.emit(event, "conv", [input], FIRST, parameters, **attributes)


@reads("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> bool:
    value = drafts.activation(event, input)
    axes = input.ndim - 2
    if value is None or value.layout != FIRST:
        return False
    strides, steps, cut, more = (
        per_axis(axes, v) for v in (stride, dilation, padding, output_padding)
    )
    parameters = drafts.roles(event, kernel=(weight, KERNEL), bias=(bias, PLAIN))
    if parameters is None:
        return False
    cropping = [[pixels, pixels - extra] for pixels, extra in zip(cut, more, strict=True)]
    attributes = {"strides": strides, "cropping": cropping, "dilation": steps, "groups": groups}
    return drafts.emit(event, "conv_transpose", [input], FIRST, parameters, **attributes)
