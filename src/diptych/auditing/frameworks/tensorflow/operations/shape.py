"""Operations that move numbers and leave them as they are."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.blocks import Block
from diptych.auditing.frameworks.tensorflow.drafts import NodeDraft
from diptych.auditing.frameworks.tensorflow.operation_types import (
    BLOCKS,
    PADS,
    PASSES,
    RESHAPES,
    RESIZES,
)
from diptych.auditing.frameworks.tensorflow.operations.convolution import channels_last
from diptych.auditing.frameworks.tensorflow.operations.registry import reads
from diptych.auditing.frameworks.tensorflow.trace import Trace
from diptych.auditing.kinds.places import ratios, sliced

MASKS = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")


@reads(*RESHAPES)
def reshape(trace: Trace, block: Block) -> NodeDraft | None:
    before, after = list(block.inputs[0].shape), list(block.output.shape)
    first = block.operations[0].type == "Transpose" and len(before) > 2
    if after == before:
        return NodeDraft("nothing")
    if after[:1] != before[:1]:
        return None
    if len(after) == 2 and len(before) > 2:
        return NodeDraft("flatten", {"order": "first" if first else "last"})
    return NodeDraft("reshape", {"shape": after[1:]})


@reads(*PADS)
def pad(trace: Trace, block: Block) -> NodeDraft | None:
    padding = np.array(tf.get_static_value(block.core.inputs[1])).tolist()
    if any(padding[0]) or any(padding[-1]):
        return None
    mode, value = "constant", 0.0
    if block.core.type == "PadV2":
        value = float(tf.get_static_value(block.core.inputs[2]))
    if block.core.type == "MirrorPad":
        mode = block.core.get_attr("mode").decode().lower()
    return NodeDraft("pad", {"padding": padding[1:-1], "mode": mode, "value": value})


@reads("Transpose")
def transpose(trace: Trace, block: Block) -> NodeDraft | None:
    order = tf.get_static_value(block.core.inputs[1])
    if order is None or order[0] != 0:
        return None
    steps = [["transpose", [int(axis) - 1 for axis in order[1:]]]]
    shape = [int(size) for size in block.inputs[0].shape[1:]]
    return NodeDraft("rearrange", {"shape": shape, "steps": steps})


@reads("StridedSlice")
def strided_slice(trace: Trace, block: Block) -> NodeDraft | None:
    core, sizes = block.core, [int(size) for size in block.inputs[0].shape]
    limits = [tf.get_static_value(tensor) for tensor in core.inputs[1:4]]
    if any(values is None for values in limits):
        return None
    masks = {name: core.get_attr(f"{name}_mask") for name in MASKS}
    index: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(*limits, strict=True)):
        masked = {name: bool(mask >> i & 1) for name, mask in masks.items()}
        if masked["new_axis"]:
            return None
        if masked["ellipsis"]:
            index += [slice(None)] * (len(sizes) - len(limits[0]) + 1)
        elif masked["shrink_axis"]:
            index.append(int(start))
        else:
            first = None if masked["begin"] else int(start)
            last = None if masked["end"] else int(stop)
            index.append(slice(first, last, int(step)))
    index += [slice(None)] * (len(sizes) - len(index))
    batch = index[0]
    if not isinstance(batch, slice) or batch.indices(sizes[0]) != (0, sizes[0], 1):
        return None
    return NodeDraft("slice", sliced(sizes[1:], index[1:]))


@reads("ReverseV2")
def reverse(trace: Trace, block: Block) -> NodeDraft | None:
    axes, rank = tf.get_static_value(block.core.inputs[1]), block.output.shape.rank
    if axes is None:
        return None
    turned = {int(axis) % rank for axis in axes}
    whole, back = slice(None), slice(None, None, -1)
    index = [back if axis in turned else whole for axis in range(1, rank)]
    sizes = [int(size) for size in block.output.shape[1:]]
    return None if 0 in turned else NodeDraft("slice", sliced(sizes, index))


@reads("Roll")
def roll(trace: Trace, block: Block) -> NodeDraft | None:
    given = [tf.get_static_value(tensor) for tensor in block.core.inputs[1:3]]
    if any(values is None for values in given):
        return None
    shifts = [0] * block.output.shape.rank
    for shift, axis in zip(*map(np.atleast_1d, given), strict=True):
        shifts[int(axis)] += int(shift)
    return None if shifts[0] else NodeDraft("roll", {"shifts": shifts[1:]})


@reads("Tile")
def tile(trace: Trace, block: Block) -> NodeDraft | None:
    counts = tf.get_static_value(block.core.inputs[1])
    if counts is None or counts[0] != 1:
        return None
    shape = [int(size) for size in block.inputs[0].shape[1:]]
    counts = [int(count) for count in counts[1:]]
    return NodeDraft("repeat", {"shape": shape, "counts": counts, "each": False})


@reads("Pack")
def stack(trace: Trace, block: Block) -> NodeDraft | None:
    axis = int(block.core.get_attr("axis")) % block.output.shape.rank
    everything = len(block.inputs) == len(block.core.inputs)
    return NodeDraft("stack", {"axis": axis - 1}) if everything and axis else None


@reads(*RESIZES)
def resize(trace: Trace, block: Block) -> NodeDraft | None:
    core = block.core
    corners, half = core.get_attr("align_corners"), core.get_attr("half_pixel_centers")
    centres = "corners" if corners else "half" if half else "corner"
    sizes, wanted = (
        [int(size) for size in shape[1:-1]] for shape in (block.inputs[0].shape, block.output.shape)
    )
    steps, method = ratios(sizes, wanted, centres), RESIZES[core.type]
    # TensorFlow looks cubic weights up in a table of 1,024 places.
    if method == "keys" and (centres != "half" or any((step * 512) % 1 for step in steps)):
        return None
    attributes = {"size": wanted, "ratios": steps, "method": method, "centres": centres}
    return NodeDraft("resize", attributes)


@reads(*BLOCKS)
def blocks(trace: Trace, block: Block) -> NodeDraft | None:
    if not channels_last(block.core):
        return None
    size = int(block.core.get_attr("block_size"))
    return NodeDraft(BLOCKS[block.core.type], {"block": size, "order": "blocks"})


@reads(*PASSES)
def nothing(trace: Trace, block: Block) -> NodeDraft | None:
    return NodeDraft("nothing")
