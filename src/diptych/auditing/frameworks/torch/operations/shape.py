"""Padding, reshapes and orders of axes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.calls import AXES, SHAPES
from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import (
    FIRST,
    LAST,
    POOLED,
    channel_axis,
    keeps_axes,
    keeps_order,
    to_first,
    to_last,
)
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event


@reads("pad")
def pad(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> bool:
    given = drafts.activation(event, input)
    if given is None or mode != "constant" or value:
        return False
    pairs = [list(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    pairs = [[0, 0]] * (input.ndim - len(pairs)) + pairs
    channel = pairs.pop(channel_axis(given.layout, input.ndim))
    batch, *spatial = pairs
    if any(channel + batch) or any(amount < 0 for pair in spatial for amount in pair):
        return False
    return drafts.emit(event, "pad", [input], given.layout, padding=spatial)


@reads(*AXES)
def axes(drafts: Drafts, event: Event, input: Tensor, *arguments: Any, **named: Any) -> bool:
    value = drafts.activation(event, input)
    order = event.axes_order()
    if value is None or input.ndim < 3:
        return False
    if value.layout == FIRST and order == to_last(input.ndim):
        return drafts.alias(event, LAST)
    if value.layout == LAST and order == to_first(input.ndim):
        return drafts.alias(event, FIRST)
    return False


@reads(*SHAPES)
def reshape(drafts: Drafts, event: Event, input: Tensor, *arguments: Any, **named: Any) -> bool:
    value = drafts.of(event, input)
    number = event.outputs[0]
    output = drafts.trace.copies[number]
    if not isinstance(value, Activation) or output.numel() != input.numel():
        return False
    if event.name == "getitem" and not keeps_axes(arguments[0]):
        return False
    if output.shape == input.shape:
        return drafts.alias(event)
    if value.layout == POOLED and output.shape[:2] == input.shape[:2]:
        return drafts.alias(event, LAST if output.ndim == 2 else POOLED)
    value = drafts.activation(event, input)
    assert value is not None
    layout = LAST
    if output.ndim > 2:
        channels = value.layout == FIRST and output.shape[1] == input.shape[1]
        layout = FIRST if channels else drafts.guess(number)
    kept = keeps_order(tuple(input.shape), value.layout, tuple(output.shape), layout)
    if output.ndim == 2 and input.ndim > 2:
        return drafts.emit(event, "flatten", [input], LAST, order=LAST if kept else FIRST)
    return kept and drafts.emit(event, "reshape", [input], layout)
