"""Layers that take the examples of a batch for steps, and steps for examples.

PyTorch's recurrent layers and attention expect the steps in front, unless they are built with
``batch_first=True``. With the batch in front they run all the same, over the wrong axis.
"""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import Array, Compute, Difference, Parameters, Rounding

ATTRIBUTES = {
    "over": "'batch' if it takes the examples of a batch for its steps, and its steps for "
    "examples; missing otherwise"
}
OPTIONAL = frozenset(ATTRIBUTES)
WORDS = {
    False: "goes over the steps of each example",
    True: "goes over the examples of a batch, and takes the steps for examples (batch_first)",
}


def is_over_batch(node: Node) -> bool:
    """True if a node goes over the batch."""
    return "over" in node.attributes


def difference(a: Node, b: Node) -> Difference | None:
    """The difference of two nodes of which only one goes over the batch."""
    if is_over_batch(a) == is_over_batch(b):
        return None
    return Difference("axis", *(WORDS[is_over_batch(node)] for node in (a, b)))


def computed(compute: Compute) -> Compute:
    """The computation of a kind, for nodes over the batch too."""

    def either(
        node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
    ) -> Array:
        if not is_over_batch(node):
            return compute(node, parameters, inputs, training)
        turned = [anp.swapaxes(x, 0, 1) for x in inputs]
        return anp.swapaxes(compute(_over_steps(node), parameters, turned, training), 0, 1)

    return either


def rounded(rounding: Rounding) -> Rounding:
    """The rounding of a kind, for nodes over the batch too."""

    def either(
        node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
    ) -> np.ndarray:
        if not is_over_batch(node):
            return rounding(node, parameters, inputs, y, training)
        turned = [np.swapaxes(x, 0, 1) for x in inputs]
        own = _over_steps(node), parameters, turned, np.swapaxes(y, 0, 1), training
        return np.swapaxes(rounding(*own), 0, 1)

    return either


def _over_steps(node: Node) -> Node:
    return replace(node, attributes={k: v for k, v in node.attributes.items() if k != "over"})
