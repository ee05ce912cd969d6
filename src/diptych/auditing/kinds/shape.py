"""Layers that only change the shape: flatten, reshape, …"""

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
    Kind,
    Parameters,
    Shapes,
    times,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rearranging import with_rearrangement_before
from diptych.auditing.kinds.rounding import exact


def _flatten(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    (x,) = inputs
    if node.attributes["order"] == "first" and x.ndim > 2:
        x = anp.moveaxis(x, -1, 1)
    return anp.reshape(x, (len(x), -1))


def _reshape(node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool) -> Array:
    return anp.reshape(inputs[0], (len(inputs[0]), *node.attributes["shape"]))


def _other_order(node: Node) -> Node:
    return with_attributes(node, order="first" if node.attributes["order"] == "last" else "last")


def _flatten_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    orders = [node.attributes["order"] for node in (a, b)]
    if orders[0] == orders[1]:
        return []
    words = [f"channels come {order}" for order in orders]
    changed = with_those_of(a, b, "order")
    return [Difference("flatten-order", *words, changed=changed, conventional=True)]


def _flatten_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    if len(inputs) > 1 or inputs[0].size != y.size or y.ndim != 2:
        return []
    flatten = replace(node, kind="flatten")
    return [replace(flatten, attributes={"order": order}) for order in ("last", "first")]


FLATTEN = Kind(
    name="flatten",
    attributes={
        "order": "'last' if the channels are the fastest axis of the flattened vector, 'first' if "
        "the spatial axes are (as a framework with channels first flattens); always 'last' where "
        "there is nothing but channels"
    },
    words=lambda node: f"flatten to {times(node.shape)}",
    compute=_flatten,
    rounding=exact,
    differences=_flatten_differences,
    hypotheses=lambda node, x, y: [("flatten-order", _other_order(node))],
    guesses=_flatten_guesses,
    does_nothing=lambda node, shape: len(shape) == 1,
    keeps_sign=True,
)
"""All axes but the batch as one."""

RESHAPE = Kind(
    name="reshape",
    attributes={"shape": "the output's, without the batch"},
    words=lambda node: f"reshape to {times(node.attributes['shape'])}",
    compute=_reshape,
    rounding=exact,
    does_nothing=lambda node, shape: True,
    absorbs={"rearrange": with_rearrangement_before},
    keeps_sign=True,
)
"""The same values in the same order with a different shape."""

KINDS = (FLATTEN, RESHAPE)
