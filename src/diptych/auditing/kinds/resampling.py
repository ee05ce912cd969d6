"""Resampling: upsampling, resizing, and rearrangement between blocks of pixels and channels."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Shape,
    Shapes,
    times,
    with_attributes,
)
from diptych.auditing.kinds.places import CENTRES, METHODS, matrix, ratios
from diptych.auditing.kinds.rearranging import index_of, rearranged
from diptych.auditing.kinds.rounding import exact


def matrices(node: Node, x: Shape) -> list[np.ndarray]:
    """The matrix of each spatial axis for an input (n, *spatial, channels).

    Raises:
        ValueError: the input has other axes.
    """
    settings, spatial = node.attributes, x[1:-1]
    if len(spatial) != len(settings["size"]):
        raise ValueError(f"resampling of {len(settings['size'])} axes does not fit to {x}")
    per_axis = zip(spatial, settings["size"], settings["ratios"], strict=True)
    return [matrix(*axis, settings["method"], settings["centres"]) for axis in per_axis]


def _apply(x: Array, weights: Sequence[np.ndarray]) -> Array:
    for axis, along in enumerate(weights, 1):
        x = anp.moveaxis(anp.tensordot(x, along, ((axis,), (1,))), -1, axis)
    return x


def _resize(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return _apply(inputs[0], matrices(node, tuple(inputs[0].shape)))


def _resize_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    """The bound of rounding: the weights are differences of positions, which are rounded in
    proportion to their size."""
    (x,) = inputs
    if node.attributes["method"] == "nearest":
        return exact(node, parameters, inputs, y, training)
    weights = [np.abs(along) for along in matrices(node, x.shape)]
    touched = _apply(np.abs(x), [along + np.roll(along, 1, 1) for along in weights])
    return (8 + 4 * max(x.shape[1:-1])) * touched


def _resize_words(node: Node) -> str:
    names = {"nearest": "nearest", "linear": "linear", "cubic": "cubic", "keys": "Keys' cubic"}
    places = {"half": "half-pixel centres", "corners": "aligned corners", "corner": "first corner"}
    method, centres = node.attributes["method"], node.attributes["centres"]
    return f"{names[method]} resampling to {times(node.attributes['size'])}, {places[centres]}"


def _input_sizes(node: Node) -> tuple[int, ...]:
    """The input sizes of a node, from its ratios."""
    more = 1 if node.attributes["centres"] == "corners" else 0
    pairs = zip(node.attributes["size"], node.attributes["ratios"], strict=True)
    return tuple(round((size - more) * ratio) + more for size, ratio in pairs)


def _resamples_alike(a: Node, b: Node) -> bool:
    """True if each pixel has the same source pixels, as two forms of nearest may have."""
    sizes = [_input_sizes(node) for node in (a, b)]
    if sizes[0] != sizes[1] or a.attributes["size"] != b.attributes["size"]:
        return False
    one, other = (matrices(node, (1, *sizes[0], 1)) for node in (a, b))
    return all(np.allclose(x, y, rtol=0, atol=1e-9) for x, y in zip(one, other, strict=True))


def _resize_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if a.attributes == b.attributes or _resamples_alike(a, b):
        return []
    own = {name: b.attributes[name] for name in a.attributes}
    words = [_resize_words(node) for node in (a, b)]
    return [Difference("resampling", *words, changed=with_attributes(a, **own))]


def _resizings(node: Node, x: Shape, y: Shape) -> list[Node]:
    """Every way to resample an input to the size of the output."""
    found = []
    for method in METHODS:
        for centres in CENTRES:
            attributes = {"size": list(y[1:-1]), "ratios": ratios(x[1:-1], y[1:-1], centres)}
            attributes |= {"method": method, "centres": centres}
            found.append(replace(node, kind="resize", attributes=attributes))
    return found


def _resize_hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    return [("resampling", other) for other in _resizings(node, x.shape, y.shape)]


def _resize_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    (x, *others) = inputs
    fits = not others and x.ndim == y.ndim > 2 and x.shape[-1] == y.shape[-1]
    if not fits or x.shape[1:-1] == y.shape[1:-1]:
        return []
    return _resizings(node, x.shape, y.shape)


def _resize_does_nothing(node: Node, shape: Shape) -> bool:
    if list(node.attributes["size"]) != list(shape[:-1]):
        return False
    return all(np.allclose(along, np.eye(len(along))) for along in matrices(node, (1, *shape)))


RESIZE = Kind(
    name="resize",
    attributes={
        "size": "the output's, list of int, one per spatial axis",
        "ratios": "list of float, pixels of the input for each of the output",
        "method": f"one of {', '.join(METHODS)}",
        "centres": f"one of {', '.join(CENTRES)}: where the output's pixels lie in the input",
    },
    words=_resize_words,
    compute=_resize,
    rounding=_resize_rounding,
    differences=_resize_differences,
    hypotheses=_resize_hypotheses,
    guesses=_resize_guesses,
    does_nothing=_resize_does_nothing,
)
"""A different number of pixels along each spatial axis."""


# Blocks of pixels as channels.


def block_steps(node: Node, x: Shape) -> list[list]:
    """Reshapes and transpositions (see `rearranging`) of which a node consists.

    Args:
        node: of kind ``depth_to_space`` or ``space_to_depth``.
        x: the input's shape without the batch.
    """
    size, first = node.attributes["block"], node.attributes["order"] == "channels"
    *spatial, channels = x
    axes = len(spatial)
    if node.kind == "depth_to_space":
        depth = channels // size**axes
        blocks = [depth, *[size] * axes] if first else [*[size] * axes, depth]
        depth_axis = axes if first else 2 * axes
        place = axes + 1 if first else axes
        order = [a for i in range(axes) for a in (i, place + i)]
        result = [length * size for length in spatial]
        return [
            ["reshape", [*spatial, *blocks]],
            ["transpose", [*order, depth_axis]],
            ["reshape", [*result, depth]],
        ]
    split = [n for length in spatial for n in (length // size, size)]
    pixels, inside = [2 * i for i in range(axes)], [2 * i + 1 for i in range(axes)]
    depth = [2 * axes, *inside] if first else [*inside, 2 * axes]
    result = [length // size for length in spatial]
    return [
        ["reshape", [*split, channels]],
        ["transpose", [*pixels, *depth]],
        ["reshape", [*result, channels * size**axes]],
    ]


def _blocks(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (x,) = inputs
    return rearranged(x, block_steps(node, tuple(x.shape[1:])))


def as_rearrangement(node: Node) -> Node:
    """The node as reshapes and transpositions."""
    size, (*spatial, channels) = node.attributes["block"], node.shape
    times_channels = size ** len(spatial)
    if node.kind == "depth_to_space":
        x = [length // size for length in spatial] + [channels * times_channels]
    else:
        x = [length * size for length in spatial] + [channels // times_channels]
    steps = block_steps(node, tuple(x))
    return replace(node, kind="rearrange", attributes={"shape": x, "steps": steps})


def block_words(node: Node) -> str:
    """The direction, the block, and the order of the channels."""
    name = "depth to space" if node.kind == "depth_to_space" else "space to depth"
    order = {
        "channels": "channels first, as in pixel_shuffle",
        "blocks": "blocks first, as in depth_to_space",
    }[node.attributes["order"]]
    return f"{name} by {node.attributes['block']}, {order}"


def _block_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    from diptych.auditing.kinds.registry import words

    one, other = (as_rearrangement(n) if n.kind != "rearrange" else n for n in (a, b))
    if np.array_equal(index_of(one.attributes), index_of(other.attributes)):
        return []
    changed = replace(b, name=a.name, inputs=a.inputs)
    return [Difference("resampling", words(a), words(b), changed=changed)]


def _other_order(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    other = "blocks" if node.attributes["order"] == "channels" else "channels"
    return [("resampling", with_attributes(node, order=other))]


_BLOCK = {
    "block": "int, the size of a block along each spatial axis",
    "order": "'channels' if the channels of the larger image are the slower part of the axis of "
    "channels, 'blocks' if the places in the block are",
}


def _block_kind(name: str) -> Kind:
    return Kind(
        name=name,
        attributes=_BLOCK,
        words=block_words,
        compute=_blocks,
        rounding=exact,
        differences=_block_differences,
        hypotheses=_other_order,
        comparable=("depth_to_space", "space_to_depth", "rearrange"),
        keeps_sign=True,
    )


DEPTH_TO_SPACE = _block_kind("depth_to_space")
"""Channels as blocks of pixels: sub-pixel convolution's second half (Shi et al., 2016)."""
SPACE_TO_DEPTH = _block_kind("space_to_depth")
"""Blocks of pixels as channels."""

KINDS = (RESIZE, DEPTH_TO_SPACE, SPACE_TO_DEPTH)
