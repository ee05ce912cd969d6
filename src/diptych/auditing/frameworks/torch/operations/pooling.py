"""Pools over windows, and over all of an image."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST, LAST, POOLED, channel_axis, per_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event

Sizes = int | Sequence[int]


@reads("max_pool1d", "max_pool2d", "max_pool1d_with_indices", "max_pool2d_with_indices")
def max_pool(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> bool:
    if any(step != 1 for step in per_axis(input.ndim - 2, dilation)):
        return False
    return _pool(drafts, event, "max_pool", input, kernel_size, stride, padding)


@reads("avg_pool1d", "avg_pool2d")
def average_pool(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> bool:
    if divisor_override is not None:
        return False
    counted = {"count_padding": count_include_pad}
    return _pool(drafts, event, "average_pool", input, kernel_size, stride, padding, **counted)


@reads("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def adaptive_average(drafts: Drafts, event: Event, input: Tensor, output_size: Sizes) -> bool:
    return _adaptive(drafts, event, input, "average_pool")


@reads("adaptive_max_pool1d", "adaptive_max_pool2d")
def adaptive_max(
    drafts: Drafts, event: Event, input: Tensor, output_size: Sizes, return_indices: bool = False
) -> bool:
    return _adaptive(drafts, event, input, "max_pool")


@reads("mean")
def mean(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    dim: Sizes | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> bool:
    return _global(drafts, event, "global_average_pool", input, dim, keepdim)


@reads("amax")
def largest(
    drafts: Drafts, event: Event, input: Tensor, dim: Sizes | None = None, keepdim: bool = False
) -> bool:
    return _global(drafts, event, "global_max_pool", input, dim, keepdim)


def _pool(
    drafts: Drafts,
    event: Event,
    kind: str,
    x: Tensor,
    size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    **more: Any,
) -> bool:
    value = drafts.activation(event, x)
    axes = x.ndim - 2
    if value is None or value.layout != FIRST:
        return False
    windows, before = per_axis(axes, size), per_axis(axes, padding)
    strides = windows if stride is None or stride == [] else per_axis(axes, stride)
    outputs = drafts.trace.copies[event.outputs[0]].shape[2:]
    pads = []
    for total, output, window, step, pad in zip(
        x.shape[2:], outputs, windows, strides, before, strict=True
    ):
        # Rounding the size up is padding behind what the user asks for.
        beyond = (output - 1) * step + window - (total + 2 * pad)
        pads.append([pad, pad + max(0, beyond)])
    if more.get("count_padding"):
        if any(front != behind for front, behind in pads) and any(before):
            return False  # It counts the padding, but not what rounding up adds.
        more["count_padding"] = any(before)
    return drafts.emit(event, kind, [x], FIRST, size=windows, strides=strides, padding=pads, **more)


def _adaptive(drafts: Drafts, event: Event, x: Tensor, kind: str) -> bool:
    spatial, wanted = x.shape[2:], drafts.trace.copies[event.outputs[0]].shape[2:]
    value = drafts.activation(event, x)
    if value is None or value.layout != FIRST:
        return False
    if all(size == 1 for size in wanted):
        return drafts.emit(event, f"global_{kind}", [x], POOLED)
    if any(size % to for size, to in zip(spatial, wanted, strict=True)):
        return False
    windows = [size // to for size, to in zip(spatial, wanted, strict=True)]
    counted = {"count_padding": False} if kind == "average_pool" else {}
    return _pool(drafts, event, kind, x, windows, windows, 0, **counted)


def _global(
    drafts: Drafts, event: Event, kind: str, x: Tensor, dim: Sizes | None, keepdim: bool
) -> bool:
    value = drafts.activation(event, x)
    if value is None or x.ndim < 3 or dim is None:
        return False
    axes = {axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim)}
    channels = {0, channel_axis(value.layout, x.ndim)}
    if axes != set(range(x.ndim)) - channels or (keepdim and value.layout == LAST):
        return False
    return drafts.emit(event, kind, [x], POOLED if keepdim else LAST)
