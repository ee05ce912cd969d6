"""Values in a different order: transpositions, with the reshapes around them.

Intermediate axes differ between frameworks: a shuffle of channels is a reshape, a transposition and
a reshape in each, but not of the same axes. So a sequence of them is one node, and two nodes are
the same if they move every value to the same position.
"""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
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
    times,
    with_attributes,
)
from diptych.auditing.kinds.rounding import exact

Steps = Sequence[Sequence[Any]]
"""``["transpose", order of the axes]`` or ``["reshape", sizes]``, all without the batch."""
MOST_AXES = 4
"""The number of axes without the batch up to which every order is tried for a black box."""


def rearranged(x: Array, steps: Steps) -> Array:
    """The array (n, …) after all steps.

    Raises:
        ValueError: it has other sizes than the steps take.
    """
    for name, values in steps:
        if name == "reshape":
            x = anp.reshape(x, (len(x), *values))
        else:
            x = anp.transpose(x, (0, *(axis + 1 for axis in values)))
    return x


def index_of(attributes: Mapping[str, Any]) -> np.ndarray:
    """The index of the input value of each output value, in order."""
    steps = tuple((name, tuple(values)) for name, values in attributes["steps"])
    return _index(tuple(attributes["shape"]), steps)


@lru_cache(maxsize=64)
def _index(shape: Shape, steps: Any) -> np.ndarray:
    numbers = np.arange(int(np.prod(shape))).reshape(1, *shape)
    return rearranged(numbers, steps).ravel()


def _compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return rearranged(inputs[0], node.attributes["steps"])


def words(node: Node) -> str:
    """The order of the axes, or the shapes before and after."""
    steps = node.attributes["steps"]
    if len(steps) == 1 and steps[0][0] == "transpose":
        return f"axes in the order {', '.join(str(axis + 1) for axis in steps[0][1])}"
    return f"rearrangement of {times(node.attributes['shape'])} to {times(node.shape)}"


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    from diptych.auditing.kinds.registry import kind_of
    from diptych.auditing.kinds.resampling import as_rearrangement

    one, other = (n if n.kind == "rearrange" else as_rearrangement(n) for n in (a, b))
    if np.array_equal(index_of(one.attributes), index_of(other.attributes)):
        return []
    texts = [kind_of(node).words(node) for node in (a, b)]
    changed = with_attributes(a, steps=other.attributes["steps"])
    return [Difference("axis", *texts, changed=changed)]


def with_reshape_before(node: Node, before: Node, positive: bool) -> Node | None:
    """The rearrangement merged with the preceding reshape or rearrangement."""
    size = int(np.prod(node.attributes["shape"]))
    if before.kind == "reshape":
        # A reshape keeps the order, so the numbers are the same in the shape that it takes.
        steps = [["reshape", list(before.attributes["shape"])], *node.attributes["steps"]]
        return with_attributes(node, steps=steps)
    steps = [*before.attributes["steps"], *node.attributes["steps"]]
    if int(np.prod(before.attributes["shape"])) != size:
        return None
    return with_attributes(node, shape=before.attributes["shape"], steps=steps)


def with_rearrangement_before(node: Node, before: Node, positive: bool) -> Node:
    """A reshape after a rearrangement, as one rearrangement."""
    steps = [*before.attributes["steps"], ["reshape", list(node.attributes["shape"])]]
    attributes = {"shape": before.attributes["shape"], "steps": steps}
    return replace(node, kind="rearrange", attributes=attributes)


def _does_nothing(node: Node, shape: Shape) -> bool:
    index = index_of(node.attributes)
    return bool(np.array_equal(index, np.arange(len(index))))


def _guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    """Every order of the axes that gives the output's shape."""
    (x, *others) = inputs
    axes = x.ndim - 1
    if others or y.ndim != x.ndim or not 2 <= axes <= MOST_AXES:
        return []
    orders = [list(order) for order in itertools.permutations(range(axes))]
    return [
        replace(
            node,
            kind="rearrange",
            attributes={"shape": list(x.shape[1:]), "steps": [["transpose", order]]},
        )
        for order in orders
        if [x.shape[axis + 1] for axis in order] == list(y.shape[1:]) and order != sorted(order)
    ]


REARRANGE = Kind(
    name="rearrange",
    attributes={
        "shape": "the input's, without the batch",
        "steps": "[['transpose', order of the axes] or ['reshape', sizes], …], without the batch",
    },
    words=words,
    compute=_compute,
    rounding=exact,
    differences=_differences,
    guesses=_guesses,
    comparable=("depth_to_space", "space_to_depth"),
    does_nothing=_does_nothing,
    absorbs=dict.fromkeys(("reshape", "rearrange"), with_reshape_before),
    keeps_sign=True,
)
"""The values of each example in a different order."""

KINDS = (REARRANGE,)
