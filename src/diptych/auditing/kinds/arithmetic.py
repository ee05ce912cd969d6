"""Layers that combine their inputs number by number, or join them."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Guesses,
    Kind,
    Parameters,
    Shape,
    Shapes,
)
from diptych.auditing.kinds.rounding import exact, sum_of_terms


def _same_shapes(inputs: Sequence[Array]) -> None:
    shapes = {tuple(x.shape) for x in inputs}
    if len(shapes) > 1:
        raise ValueError(f"inputs of different shapes: {', '.join(map(str, shapes))}")


def _add(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    _same_shapes(inputs)
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    return y


def _rescale(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    scale, offset = (np.asarray(node.attributes[name], float) for name in ("scale", "offset"))
    return inputs[0] * scale + offset


def _concatenate(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    axis = node.attributes.get("axis", -1)
    return anp.concatenate(list(inputs), axis=-1 if axis == -1 else axis + 1)


def _axis_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    axes = [node.attributes.get("axis", -1) for node in (a, b)]
    if axes[0] == axes[1]:
        return []
    words = ["channels" if axis == -1 else f"axis {axis + 1}" for axis in axes]
    return [Difference("axis", *(f"concatenates along {word}" for word in words))]


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Scale and offset of the line through the points (x, y), by least squares."""
    spread = float(np.var(x))
    scale = float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else 1.0
    return scale, float(y.mean() - scale * x.mean())


def _rescale_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].shape != y.shape:
        return []
    scale, offset = line(inputs[0], y)
    return [replace(node, kind="rescale", attributes={"scale": scale, "offset": offset})]


def _of_several(kind: str, **attributes: int) -> Guesses:
    def guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
        return [replace(node, kind=kind, attributes=attributes)] if len(inputs) > 1 else []

    return guesses


def _does_nothing(node: Node, shape: Shape) -> bool:
    one = np.all(np.asarray(node.attributes["scale"]) == 1)
    return bool(one and not np.any(node.attributes["offset"]))


RESCALE = Kind(
    name="rescale",
    attributes={
        "scale": "a number, or a list by channel",
        "offset": "a number, or a list by channel; y = scale * x + offset",
    },
    words=lambda node: "rescale",
    compute=_rescale,
    rounding=sum_of_terms,
    guesses=_rescale_guesses,
    does_nothing=_does_nothing,
    keeps_order=True,
)
"""A line through each number."""

ADD = Kind(
    name="add",
    attributes={},
    words=lambda node: "add",
    compute=_add,
    rounding=sum_of_terms,
    guesses=_of_several("add"),
    keeps_sign=True,
)
"""The sum of inputs of one shape."""

CONCATENATE = Kind(
    name="concatenate",
    attributes={"axis": "along which, counted without the batch; -1 for the channels"},
    words=lambda node: "concatenate",
    compute=_concatenate,
    rounding=exact,
    differences=_axis_differences,
    guesses=_of_several("concatenate", axis=-1),
    keeps_sign=True,
)
"""The inputs joined along an axis."""

KINDS = (RESCALE, ADD, CONCATENATE)
