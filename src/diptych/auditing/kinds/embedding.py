"""Embeddings: rows of a matrix, looked up by integers."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np
from autograd.tracer import getval

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.dense import unit_differences
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shapes,
    differ,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS


def _compute(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    kernel, rows = parameters["kernel"], np.rint(getval(inputs[0])).astype(np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= len(kernel)):
        raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(kernel)}")
    y = kernel[rows]
    longest = node.attributes.get("max_norm")
    if longest is not None:
        # The rows are shortened before they are looked up, which no gradient goes through.
        values = getval(y)
        norms = np.linalg.norm(values, axis=-1, keepdims=True)
        y = y + values * (np.where(norms > longest, longest / (norms + 1e-7), 1.0) - 1)
    padding = node.attributes.get("padding_index")
    if padding is None:
        return y
    return anp.where((rows == padding)[..., None], getval(y), y)


def _rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    shortened = node.attributes.get("max_norm") is not None
    return (FUNCTION_UNITS if shortened else 1.0) * np.abs(y)


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    differences = unit_differences(of_a, of_b)
    rows = [of["kernel"][0] for of in (of_a, of_b)]
    if rows[0] != rows[1]:
        differences.append(Difference("units", *(f"{count} rows" for count in rows)))
    padding = [node.attributes.get("padding_index") for node in (a, b)]
    if padding[0] != padding[1]:
        words = ["no padding index" if i is None else f"padding index {i}" for i in padding]
        effect = "the padding row gets no gradient and keeps its initial values"
        differences.append(Difference("padding-index", *words, effect=effect))
    longest = [node.attributes.get("max_norm") for node in (a, b)]
    if differ(*longest):
        words = ["any norm" if norm is None else f"norms limited to {norm:.6g}" for norm in longest]
        changed = with_those_of(a, b, "max_norm")
        differences.append(Difference("weight-constraint", *words, changed=changed))
    return differences


EMBEDDING = Kind(
    name="embedding",
    attributes={
        "padding_index": "int, the row that gets no gradient; None if all get one",
        "max_norm": "float; a longer row is shortened to it when it is looked up; None if none is",
        "mask": "bool, whether the layer tells those after it to leave out the number 0",
    },
    roles={"kernel": Role("(rows, units)")},
    words=lambda node: f"embedding of size {node.shape[-1]}",
    compute=_compute,
    rounding=_rounding,
    differences=_differences,
)
"""The rows of a matrix at the integers (n, …), as (n, …, units)."""

KINDS = (EMBEDDING,)
