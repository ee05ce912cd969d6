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
    graph_axis,
    in_graph,
    keeps_axes,
    keeps_order,
    to_first,
    to_last,
)
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.operations.selection import item
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
    if given is None:
        return False
    pairs = [list(pad[i : i + 2]) for i in range(0, len(pad), 2)][::-1]
    pairs = [[0, 0]] * (input.ndim - len(pairs)) + pairs
    channel = pairs.pop(channel_axis(given.layout, input.ndim))
    batch, *spatial = pairs
    if any(channel + batch) or any(amount < 0 for pair in spatial for amount in pair):
        return False
    settings = {"mode": mode, "value": float(value or 0.0)}
    return drafts.emit(event, "pad", [input], given.layout, padding=spatial, **settings)


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
    if order[0] != 0:
        return False  # The batch goes elsewhere.
    layout = drafts.guess(event.outputs[0])
    turned = in_order(value.layout, order, layout)
    if turned == sorted(turned):
        return drafts.alias(event, layout)
    shape = in_graph(value.layout, input.shape)
    steps = [["transpose", turned]]
    return drafts.emit(event, "rearrange", [input], layout, shape=shape, steps=steps)


def in_order(layout: str, order: list[int], result: str) -> list[int]:
    """The order of the axes of a node's array, without the batch, where a tensor's axes are put in
    an order.

    Args:
        layout: how the tensor lies to its node's array.
        order: of its axes.
        result: how the tensor in that order lies to its own node's.
    """
    of_result = in_graph(result, order)
    return [graph_axis(layout, axis, len(order)) - 1 for axis in of_result]


@reads(*SHAPES)
def reshape(drafts: Drafts, event: Event, input: Tensor, *arguments: Any, **named: Any) -> bool:
    value = drafts.of(event, input)
    number = event.outputs[0]
    output = drafts.trace.copies[number]
    if not isinstance(value, Activation):
        return False
    if event.name == "getitem" and output.numel() != input.numel():
        return item(drafts, event, input, arguments[0])
    if output.shape[:1] != input.shape[:1]:
        return False
    if event.name == "getitem" and not keeps_axes(arguments[0]):
        return item(drafts, event, input, arguments[0])
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
    if kept:
        return drafts.emit(event, "reshape", [input], layout)
    before, after = input.ndim - 1, output.ndim - 1
    steps: list[list[Any]] = [["reshape", list(output.shape[1:])]]
    if value.layout == FIRST:
        steps.insert(0, ["transpose", [before - 1, *range(before - 1)]])
    if layout == FIRST:
        steps.append(["transpose", [*range(1, after), 0]])
    shape = in_graph(value.layout, input.shape)
    return drafts.emit(event, "rearrange", [input], layout, shape=shape, steps=steps)
