"""Cropping, slices, turns, rolls, repetitions, stacks, and functions over axes."""

from typing import Any

from keras import layers

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.kinds.places import sliced


@reads("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if getattr(layer, "data_format", call.data_format) != call.data_format:
        return None
    pixels = [layer.cropping] if isinstance(layer, layers.Cropping1D) else layer.cropping
    spatial = call.inputs[0][:-1]
    kept = [slice(a, size - b) for (a, b), size in zip(pixels, spatial, strict=True)]
    return draft("slice", **sliced(call.inputs[0], [*kept, slice(None)]))


@reads("ops.GetItem")
def item(operation: Any, call: ShapedCall) -> NodeDraft | None:
    key = call.argument("key", 1)
    items = list(key) if isinstance(key, tuple | list) else [key]
    known = all((isinstance(i, int | slice) and not isinstance(i, bool)) or i is ... for i in items)
    if call.channels_first or not known or not items:
        return None
    rank = len(call.inputs[0]) + 1
    if ... in items:
        at = items.index(...)
        items[at : at + 1] = [slice(None)] * (rank - len(items) + 1)
    items += [slice(None)] * (rank - len(items))
    if items[0] != slice(None):
        return None
    return draft("slice", **sliced(call.inputs[0], items[1:]))


@reads("ops.Flip")
def flip(operation: Any, call: ShapedCall) -> NodeDraft | None:
    axes = axes_of(operation.axis, call)
    if axes is None:
        return None
    whole, back = slice(None), slice(None, None, -1)
    index = [back if axis in axes else whole for axis in range(len(call.inputs[0]))]
    return draft("slice", **sliced(call.inputs[0], index))


@reads("ops.Roll")
def roll(operation: Any, call: ShapedCall) -> NodeDraft | None:
    given = operation.axis
    axes = [given] if isinstance(given, int) else given
    shift = operation.shift
    amounts = [shift] if isinstance(shift, int) else shift
    if axes is None or call.channels_first or len(axes) != len(amounts):
        return None
    shifts = [0] * len(call.inputs[0])
    for axis, by in zip(axes, amounts, strict=True):
        where = call.graph_axis(axis)
        if where < 0:
            return None
        shifts[where] += int(by)
    return draft("roll", shifts=shifts)


@reads("RepeatVector")
def repeat_vector(layer: Any, call: ShapedCall) -> NodeDraft | None:
    shape = [1, *call.inputs[0]]
    return draft("repeat", shape=shape, counts=[layer.n, 1], each=False)


@reads("ops.Repeat")
def repeat(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if operation.axis is None or not isinstance(operation.repeats, int):
        return None
    where = call.graph_axis(operation.axis)
    if where < 0 or call.channels_first:
        return None
    counts = [operation.repeats if axis == where else 1 for axis in range(len(call.inputs[0]))]
    return draft("repeat", shape=list(call.inputs[0]), counts=counts, each=True)


@reads("ops.Tile")
def tile(operation: Any, call: ShapedCall) -> NodeDraft | None:
    counts = operation.repeats
    if call.channels_first or not isinstance(counts, list | tuple):
        return None
    if len(counts) != len(call.inputs[0]) + 1 or counts[0] != 1:
        return None
    return draft("repeat", shape=list(call.inputs[0]), counts=list(counts[1:]), each=False)


@reads("ops.Stack")
def stack(operation: Any, call: ShapedCall) -> NodeDraft | None:
    axis = operation.axis % (len(call.inputs[0]) + 2)
    return None if call.channels_first or axis == 0 else draft("stack", axis=axis - 1)


@reads("ops.Mean", "ops.Sum", "ops.Max", "ops.Min", "ops.Amax", "ops.Amin")
def reduction(operation: Any, call: ShapedCall) -> NodeDraft | None:
    axes = axes_of(operation.axis, call)
    if axes is None or getattr(operation, "initial", None) is not None:
        return None
    function = type(operation).__name__.lower().replace("amax", "max").replace("amin", "min")
    keepdims = bool(operation.keepdims)
    spatial = list(range(len(call.inputs[0]) - 1))
    pools = {"mean": "global_average_pool", "max": "global_max_pool"}
    if axes == spatial and function in pools and not keepdims:
        return draft(pools[function])
    return draft("reduce", function=function, over=axes, keepdims=keepdims)


def axes_of(axis: Any, call: ShapedCall) -> list[int] | None:
    """The axes that an operation is over, in order and without the batch's; None where that is one
    of them, or where the channels are first."""
    given = [axis] if isinstance(axis, int) else axis
    if not given or call.channels_first:
        return None
    axes = sorted({call.graph_axis(each) for each in given})
    return None if axes[0] < 0 else axes
