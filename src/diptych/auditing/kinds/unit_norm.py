"""Division by the Euclidean norm, such as that of embeddings before their products."""

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
    Shapes,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS

SMALLEST = 1e-12
"""The norm by which shorter vectors are divided: the default of PyTorch and Keras. Any other small
one is the same but for vectors of zeros."""


def _norm(node: Node, x: Array) -> Array:
    axes = tuple(node.attributes["axes"])
    if any(-axis > x.ndim for axis in axes):
        raise ValueError(f"axes {axes} of an input of {x.shape}")
    squares = anp.sum(x**2, axis=axes, keepdims=True)
    return anp.sqrt(anp.where(squares > SMALLEST**2, squares, SMALLEST**2))


def _compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return inputs[0] / _norm(node, inputs[0])


def _rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    terms = float(np.prod([inputs[0].shape[axis] for axis in node.attributes["axes"]]))
    return FUNCTION_UNITS * np.abs(y) * (1 + np.sqrt(terms) / 2)


def over(axes: Sequence[int], shape: Sequence[int]) -> str:
    """Axes in words, for an output of a shape without the batch."""
    names = ["the batch" if -axis > len(shape) else f"axis {axis}" for axis in axes]
    return f"over {' and '.join(names)}"


def _words(node: Node) -> str:
    return f"division by the norm {over(node.attributes['axes'], node.shape)}"


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    if list(a.attributes["axes"]) == list(b.attributes["axes"]):
        return []
    changed = with_those_of(a, b, "axes")
    return [Difference("normalisation-axes", _words(a), _words(b), changed=changed)]


def _other_axes(count: int) -> list[list[int]]:
    """The axes that it may be over: one of them, the batch's among them, or all but the batch's."""
    alone = [[axis] for axis in range(-1, -count - 1, -1)]
    return [*alone, list(range(1 - count, 0))] if count > 2 else alone


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other axes."""
    return [("normalisation-axes", with_attributes(node, axes=a)) for a in _other_axes(x.ndim)]


def _guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].shape != y.shape or node.parameters:
        return []
    return [
        replace(node, kind="unit_norm", attributes={"axes": axes}) for axes in _other_axes(y.ndim)
    ]


UNIT_NORM = Kind(
    name="unit_norm",
    attributes={
        "axes": "list of negative int, ascending: the axes that the norm is over, which may be the "
        "batch's",
    },
    words=_words,
    compute=_compute,
    rounding=_rounding,
    differences=_differences,
    hypotheses=_hypotheses,
    guesses=_guesses,
)
"""Division of vectors by their Euclidean norm."""

KINDS = (UNIT_NORM,)
