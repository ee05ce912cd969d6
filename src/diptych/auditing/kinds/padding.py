"""Padding around the spatial axes: with a constant, or with values of the array."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from typing import Any

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Shape,
    Shapes,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rounding import exact
from diptych.auditing.kinds.windows import PADDING, mirrored, padding_in_words

MODES = ("constant", "replicate", "reflect", "symmetric", "circular")
"""``abc`` padded by two on each side: ``vvabcvv``, ``aaabccc``, ``cbabcba`` (by two of three: the
edge is not repeated), ``baabccb`` (it is) and ``bcabcab``."""


def sources(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """The source pixel of each pixel of a padded axis; -1 for the constant.

    Raises:
        ValueError: the axis is too short to be mirrored or repeated that far.
    """
    names: dict[str, Any] = {"constant": "constant", "replicate": "edge", "circular": "wrap"}
    limit = {"reflect": size - 1, "symmetric": size, "circular": size}.get(mode, before + after)
    if max(before, after) > limit:
        raise ValueError(f"an axis of {size} pixels cannot be padded by {max(before, after)}")
    rest: dict[str, Any] = {"constant_values": -1} if mode == "constant" else {}
    return np.pad(np.arange(size), (before, after), names.get(mode, mode), **rest)


def _pad(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (y,) = inputs
    mode, value = node.attributes.get("mode", "constant"), node.attributes.get("value", 0.0)
    pairs = [tuple(pad) for pad in node.attributes["padding"]]
    if len(pairs) != y.ndim - 2:
        raise ValueError(f"padding of {len(pairs)} axes does not fit an input {y.shape}")
    if mode == "constant":
        spatial = [(0, 0), *pairs, (0, 0)]
        return anp.pad(y, spatial, "constant", constant_values=value)
    for axis, (before, after) in enumerate(pairs, 1):
        where = sources(mode, y.shape[axis], before, after)
        y = y[(*[slice(None)] * axis, where)]
    return y


def words(node: Node) -> str:
    """The number of pixels, and their values."""
    mode, value = node.attributes.get("mode", "constant"), node.attributes.get("value", 0.0)
    filled = f"with {value:.6g}" if mode == "constant" and value else ""
    filled = filled or ("with zeros" if mode == "constant" else f"in mode {mode}")
    return f"{padding_in_words(node.attributes['padding'])}, {filled}"


def is_of_zeros(node: Node) -> bool:
    """True if padding is with zeros, as in a layer with windows."""
    return node.attributes.get("mode", "constant") == "constant" and not node.attributes.get(
        "value", 0.0
    )


def joined(node: Node, pad: Node) -> list[list[int]]:
    """The padding of a layer with windows merged with the preceding padding."""
    both = zip(node.attributes["padding"], pad.attributes["padding"], strict=True)
    return [[own[0] + more[0], own[1] + more[1]] for own, more in both]


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    names = [name for name in ("padding", "mode", "value") if name in a.attributes | b.attributes]
    if all(a.attributes.get(name) == b.attributes.get(name) for name in names):
        return []
    return [Difference("padding", words(a), words(b), changed=with_those_of(a, b, *names))]


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """More padding on the other side, and other values."""
    others = [with_attributes(node, padding=mirrored(node.attributes["padding"]))]
    others += [with_attributes(node, mode=mode, value=0.0) for mode in MODES]
    return [("padding", other) for other in others]


def _does_nothing(node: Node, shape: Shape) -> bool:
    return not np.any(node.attributes["padding"])


PAD = Kind(
    name="pad",
    attributes={
        "padding": PADDING,
        "mode": f"one of {', '.join(MODES)}",
        "value": "the constant; 0 in the other modes",
    },
    words=words,
    compute=_pad,
    rounding=exact,
    differences=_differences,
    hypotheses=_hypotheses,
    does_nothing=_does_nothing,
)
"""Additional pixels around the spatial axes."""

KINDS = (PAD,)
