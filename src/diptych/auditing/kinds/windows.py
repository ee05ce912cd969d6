"""Windows that move over spatial axes: what convolutions and pools share.

A window of size s with dilation d covers (s - 1)·d + 1 pixels. `padding` is ``[[before, after],
…]`` in pixels for each spatial axis. There may be any number of spatial axes.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import Difference, times, with_attributes, with_those_of

Padding = Sequence[Sequence[int]]

STRIDES = "list of int, one per spatial axis"
PADDING = "[[before, after], …] in pixels for each spatial axis"


def output_sizes(
    sizes: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """The output's sizes along the spatial axes.

    Raises:
        ValueError: the window does not fit into the input, or has another number of axes.
    """
    lengths = []
    for size, extent, stride, step in zip(sizes, window, strides, dilation, strict=True):
        room = size - (extent - 1) * step - 1
        if room < 0:
            raise ValueError(f"a window of {extent} with dilation {step} does not fit into {size}")
        lengths.append(room // stride + 1)
    return tuple(lengths)


def offsets(
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    lengths: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position in the window, with the pixels at that position of all windows as slices of the
    padded input (n, *spatial, channels)."""
    for place in np.ndindex(*window):
        spatial = (
            slice(at * step, at * step + (length - 1) * stride + 1, stride)
            for at, step, length, stride in zip(place, dilation, lengths, strides, strict=True)
        )
        yield place, (slice(None), *spatial)


def padded(x: np.ndarray, padding: Padding, value: float = 0.0) -> np.ndarray:
    """The array (n, *spatial, channels) with a constant around its spatial axes."""
    if not np.any(padding):
        return x
    return np.pad(x, [(0, 0), *(tuple(p) for p in padding), (0, 0)], constant_values=value)


def inside(padding: Padding, sizes: Sequence[int]) -> tuple[slice, ...]:
    """The slices of the unpadded array in the padded one.

    Args:
        padding: on each side of each spatial axis.
        sizes: of the unpadded spatial axes.
    """
    spatial = (slice(p[0], p[0] + size) for p, size in zip(padding, sizes, strict=True))
    return (slice(None), *spatial)


def fitting_paddings(
    sizes: Sequence[int], wanted: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[list[list[int]]]:
    """The paddings that give the wanted output sizes: more after, or more before; at most two."""
    behind, before = [], []
    for length, result, extent, stride in zip(sizes, wanted, window, strides, strict=True):
        total = max(0, (result - 1) * stride + extent - length)
        if (length + total - extent) // stride + 1 != result or total >= 2 * extent:
            return []
        behind.append([total // 2, total - total // 2])
        before.append([total - total // 2, total // 2])
    return [behind] if behind == before else [behind, before]


def mirrored(padding: Padding) -> list[list[int]]:
    """The padding with before and after exchanged."""
    return [[after, before] for before, after in padding]


def padding_in_words(padding: Padding) -> str:
    """Padding in words, such as ``padding top 1, bottom 1, left 0, right 1``."""
    if not np.any(padding):
        return "no padding"
    names = ("top", "bottom", "left", "right") if len(padding) == 2 else ("before", "after")
    pixels = [pixel for pair in padding for pixel in pair]
    return "padding " + ", ".join(
        f"{name} {pixel}" for name, pixel in zip(names, pixels, strict=False)
    )


def window_differences(
    a: Node, b: Node, window_a: Sequence[int], window_b: Sequence[int]
) -> list[Difference]:
    """Differences of two nodes in the size, the strides and the padding of their windows."""
    differences = []
    windows = [list(window_a), list(window_b)]
    if windows[0] != windows[1]:
        differences.append(Difference("kernel-size", times(windows[0]), times(windows[1])))
    strides = [list(node.attributes["strides"]) for node in (a, b)]
    # A pool's stride is its size by default.
    follows = windows[0] != windows[1] and strides == windows
    if strides[0] != strides[1] and not follows:
        differences.append(Difference("stride", times(strides[0]), times(strides[1])))
    padding = [[list(p) for p in node.attributes["padding"]] for node in (a, b)]
    if padding[0] != padding[1] and windows[0] == windows[1] and strides[0] == strides[1]:
        words = [padding_in_words(p) for p in padding]
        differences.append(Difference("padding", *words, changed=with_those_of(a, b, "padding")))
    return differences


def mirrored_padding(node: Node) -> list[tuple[str, Node]]:
    """The hypothesis that a node pads more on the other side."""
    padding = mirrored(node.attributes["padding"])
    return [("padding", with_attributes(node, padding=padding))]
