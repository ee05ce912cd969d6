"""Dropout."""

from collections.abc import Sequence

from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Shape,
    Shapes,
    differ,
)
from diptych.auditing.kinds.rounding import exact


def _compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return inputs[0]


def words(node: Node) -> str:
    """Dropout with its rate."""
    return f"dropout of {node.attributes['rate']:.6g}"


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if not differ(a.attributes["rate"], b.attributes["rate"]):
        return []
    effect = "in training only; the stage mode has the measured shares"
    return [Difference("dropout-rate", words(a), words(b), effect=effect)]


def _does_nothing(node: Node, shape: Shape) -> bool:
    return not node.attributes["rate"]


DROPOUT = Kind(
    name="dropout",
    attributes={"rate": "the share of numbers that is dropped in training"},
    words=words,
    compute=_compute,
    rounding=exact,
    differences=_differences,
    does_nothing=_does_nothing,
    keeps_order=True,
    in_training="draws",
)
"""Dropout; the numbers that are kept are divided by 1 - rate (Srivastava et al., 2014)."""

KINDS = (DROPOUT,)
