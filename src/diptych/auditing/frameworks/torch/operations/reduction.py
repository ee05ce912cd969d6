"""Means, sums, maxima and minima over axes; over all of an image they are global pools."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import (
    LAST,
    POOLED,
    channel_axis,
    graph_axis,
    without_axes,
)
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event

Axes = int | Sequence[int]


@reads("mean")
def mean(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    dim: Axes | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> bool:
    return _reduce(drafts, event, "mean", input, dim, keepdim)


@reads("sum")
def total(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    dim: Axes | None = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> bool:
    return _reduce(drafts, event, "sum", input, dim, keepdim)


@reads("amax", "max")
def largest(
    drafts: Drafts, event: Event, input: Tensor, dim: Any = None, keepdim: bool = False
) -> bool:
    return _reduce(drafts, event, "max", input, dim, keepdim)


@reads("amin", "min")
def smallest(
    drafts: Drafts, event: Event, input: Tensor, dim: Any = None, keepdim: bool = False
) -> bool:
    return _reduce(drafts, event, "min", input, dim, keepdim)


def _reduce(
    drafts: Drafts, event: Event, function: str, x: Tensor, dim: Any, keepdim: bool
) -> bool:
    value = drafts.activation(event, x)
    if value is None or dim is None or isinstance(dim, Tensor):
        return False
    axes = sorted({axis % x.ndim for axis in ([dim] if isinstance(dim, int) else dim)})
    if 0 in axes or not axes:
        return False
    channels = channel_axis(value.layout, x.ndim)
    spatial = set(range(1, x.ndim)) - {channels}
    pools = {"mean": "global_average_pool", "max": "global_max_pool"}
    if set(axes) == spatial and function in pools and not (keepdim and value.layout == LAST):
        return drafts.emit(event, pools[function], [x], POOLED if keepdim else LAST)
    layout = value.layout if keepdim else without_axes(value.layout, x.ndim, axes)
    over = sorted(graph_axis(value.layout, axis, x.ndim) - 1 for axis in axes)
    settings = {"function": function, "over": over, "keepdims": keepdim}
    return drafts.emit(event, "reduce", [x], layout, **settings)
