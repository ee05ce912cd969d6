"""Pools over windows, and over all of an image."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST, POOLED, per_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event

Sizes = int | Sequence[int]


DIMENSIONS = ("1d", "2d", "3d")
MAX_POOLS = [f"max_pool{d}{indices}" for d in DIMENSIONS for indices in ("", "_with_indices")]
ADAPTIVE_MAX = [f"adaptive_{name}" for name in MAX_POOLS]


@reads(*MAX_POOLS)
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


@reads("avg_pool1d", "avg_pool2d", "avg_pool3d")
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


@reads("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_average(drafts: Drafts, event: Event, input: Tensor, output_size: Sizes) -> bool:
    return _adaptive(drafts, event, input, "average_pool", "adaptive_average_pool")


@reads(*ADAPTIVE_MAX)
def adaptive_max(
    drafts: Drafts, event: Event, input: Tensor, output_size: Sizes, return_indices: bool = False
) -> bool:
    return _adaptive(drafts, event, input, "max_pool", "adaptive_max_pool")


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


def _adaptive(drafts: Drafts, event: Event, x: Tensor, plain: str, kind: str) -> bool:
    spatial, wanted = x.shape[2:], drafts.trace.copies[event.outputs[0]].shape[2:]
    value = drafts.activation(event, x)
    if value is None or value.layout != FIRST:
        return False
    if all(size == 1 for size in wanted):
        return drafts.emit(event, f"global_{plain}", [x], POOLED)
    if any(size % to for size, to in zip(spatial, wanted, strict=True)):
        return drafts.emit(event, kind, [x], FIRST, size=list(wanted))
    windows = [size // to for size, to in zip(spatial, wanted, strict=True)]
    counted = {"count_padding": False} if plain == "average_pool" else {}
    return _pool(drafts, event, plain, x, windows, windows, 0, **counted)
