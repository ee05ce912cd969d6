"""Slices, splits, turns, rolls, repetitions and stacks."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import (
    FIRST,
    LAST,
    graph_axis,
    in_graph,
    without_axes,
)
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event
from diptych.auditing.kinds.places import sliced

WHOLE = slice(None)
Axes = int | Sequence[int]


def read_slice(
    drafts: Drafts, event: Event, x: Tensor, index: dict[int, Any], output: int = 0
) -> bool:
    """Makes a call a slice.

    Args:
        drafts: what was read so far.
        event: the call.
        x: what is sliced.
        index: by axis of the tensor, the number or the slice that is taken.
        output: which of the tensors that the call gives it is.
    """
    value = drafts.activation(event, x)
    if value is None or any(axis % x.ndim == 0 for axis in index):
        return False
    by_axis = {axis % x.ndim: what for axis, what in index.items()}
    of_tensor = [by_axis.get(axis, WHOLE) for axis in range(x.ndim)]
    sizes = in_graph(value.layout, x.shape)
    settings: dict[str, Any] = sliced(sizes, in_graph(value.layout, of_tensor))
    dropped = [axis for axis, what in by_axis.items() if not isinstance(what, slice)]
    layout = without_axes(value.layout, x.ndim, dropped) if dropped else value.layout
    return drafts.emit(event, "slice", [x], layout, output=output, **settings)


def item(drafts: Drafts, event: Event, x: Tensor, index: Any) -> bool:
    """Reads ``x[index]`` where the index has numbers, slices and one ellipsis."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(not (isinstance(i, (int, slice)) or i is ...) or isinstance(i, bool) for i in items):
        return False
    if ... in items:
        at = items.index(...)
        items[at : at + 1] = [WHOLE] * (x.ndim - len(items) + 1)
    if items[0] != WHOLE:
        return False
    return read_slice(drafts, event, x, {i: what for i, what in enumerate(items) if i})


@reads("narrow")
def narrow(drafts: Drafts, event: Event, input: Tensor, dim: int, start: int, length: int) -> bool:
    return read_slice(drafts, event, input, {dim: slice(start, start + length)})


@reads("select")
def select(drafts: Drafts, event: Event, input: Tensor, dim: int, index: int) -> bool:
    return read_slice(drafts, event, input, {dim: index})


@reads("unbind")
def unbind(drafts: Drafts, event: Event, input: Tensor, dim: int = 0) -> bool:
    return all(
        read_slice(drafts, event, input, {dim: i}, output=i) for i in range(len(event.outputs))
    )


@reads("split", "chunk", "split_with_sizes", "tensor_split")
def split(
    drafts: Drafts, event: Event, input: Tensor, sections: Any, dim: int = 0, **named: Any
) -> bool:
    if named:
        return False
    start, done = 0, True
    for i, number in enumerate(event.outputs):
        length = drafts.trace.copies[number].shape[dim]
        part = slice(start, start + length)
        done = done and read_slice(drafts, event, input, {dim: part}, output=i)
        start += length
    return done


@reads("flip")
def flip(drafts: Drafts, event: Event, input: Tensor, *dims: Any) -> bool:
    axes = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    return read_slice(drafts, event, input, {axis: slice(None, None, -1) for axis in axes})


@reads("roll")
def roll(
    drafts: Drafts, event: Event, input: Tensor, shifts: Axes, dims: Axes | None = None
) -> bool:
    value = drafts.activation(event, input)
    if value is None or dims is None:
        return False
    axes = [dims] if isinstance(dims, int) else list(dims)
    amounts = [shifts] if isinstance(shifts, int) else list(shifts)
    by_axis = {axis % input.ndim: int(by) for axis, by in zip(axes, amounts, strict=True)}
    if 0 in by_axis or len(by_axis) != len(axes):
        return False
    of_tensor = [by_axis.get(axis, 0) for axis in range(input.ndim)]
    return drafts.emit(
        event, "roll", [input], value.layout, shifts=in_graph(value.layout, of_tensor)
    )


@reads("expand", "expand_as", "broadcast_to", "repeat", "tile")
def repeat(drafts: Drafts, event: Event, input: Tensor, *sizes: Any) -> bool:
    value = drafts.of(event, input)
    output = drafts.trace.copies[event.outputs[0]]
    if not isinstance(value, Activation) or output.ndim != input.ndim:
        return False
    if output.shape == input.shape:
        return drafts.alias(event)
    value = drafts.activation(event, input)
    assert value is not None
    pairs = list(zip(output.shape, input.shape, strict=True))
    if pairs[0][0] != pairs[0][1] or any(of % size for of, size in pairs):
        return False
    counts = [of // size for of, size in pairs]
    return _repeated(drafts, event, input, value.layout, counts, each=False)


@reads("repeat_interleave")
def repeat_each(
    drafts: Drafts, event: Event, input: Tensor, repeats: Any, dim: int | None = None
) -> bool:
    value = drafts.activation(event, input)
    if value is None or dim is None or not isinstance(repeats, int) or dim % input.ndim == 0:
        return False
    counts = [repeats if axis == dim % input.ndim else 1 for axis in range(input.ndim)]
    return _repeated(drafts, event, input, value.layout, counts, each=True)


def _repeated(
    drafts: Drafts, event: Event, x: Tensor, layout: str, counts: list[int], each: bool
) -> bool:
    shape, by_axis = in_graph(layout, x.shape), in_graph(layout, counts)
    return drafts.emit(event, "repeat", [x], layout, shape=shape, counts=by_axis, each=each)


@reads("stack")
def stack(drafts: Drafts, event: Event, tensors: Sequence[Tensor], dim: int = 0) -> bool:
    values = [drafts.activation(event, tensor) for tensor in tensors]
    layouts = {value.layout for value in values if value is not None}
    dimensions = tensors[0].ndim + 1
    axis = dim % dimensions
    if None in values or len(layouts) > 1 or axis == 0:
        return False
    layout = layouts.pop()
    if layout == FIRST and axis == 1:
        return False  # The channels would be neither in front nor last.
    if layout == LAST and dimensions > 3:
        layout = LAST
    axis = graph_axis(layout, axis, dimensions) - 1
    return drafts.emit(event, "stack", list(tensors), layout, axis=axis)
