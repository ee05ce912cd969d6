"""All kinds by name, and functions that work for a node of any kind."""

import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds import (
    activation,
    arithmetic,
    attention,
    black_box,
    convolution,
    dense,
    dropout,
    embedding,
    normalisation,
    padding,
    pooling,
    rearranging,
    recurrent,
    resampling,
    selecting,
    shape,
    unit_norm,
)
from diptych.auditing.kinds.kind import Kind, Role

FAMILIES = (
    activation,
    arithmetic,
    shape,
    padding,
    pooling,
    resampling,
    rearranging,
    selecting,
    convolution,
    dense,
    embedding,
    normalisation,
    unit_norm,
    recurrent,
    attention,
    dropout,
    black_box,
)
"""The modules that define kinds, those first that a black box is likelier to be."""
KINDS: dict[str, Kind] = {kind.name: kind for family in FAMILIES for kind in family.KINDS}


def kind_of(node: Node) -> Kind:
    """The kind of a node."""
    return KINDS[node.kind]


def words(node: Node) -> str:
    """A layer in words, with its important settings."""
    return kind_of(node).words(node)


def role_of(node: Node, role: str) -> Role:
    """A parameter's role in its node; those of black boxes are like kernels."""
    return kind_of(node).roles.get(role) or Role("a parameter of a black box")


def comparable(a: Node, b: Node) -> bool:
    """True if two nodes are of the same kind, or of kinds that can be compared."""
    return a.kind == b.kind or b.kind in kind_of(a).comparable


def guesses(node: Node, record: Arrays) -> list[Node]:
    """Known nodes that a black box without parameters may be, likelier ones first.

    Args:
        node: the black box.
        record: its recorded inputs and output by name, (n, …).
    """
    y = record[node.name].astype(np.float64)
    inputs = [record[name].astype(np.float64) for name in node.inputs]
    return [guess for kind in KINDS.values() for guess in kind.guesses(node, inputs, y)]


def hypotheses(node: Node, record: Arrays) -> list[tuple[str, Node]]:
    """Other things that a node may compute than it declares, each with the cause.

    Args:
        node: a node of a known kind.
        record: its recorded inputs and output by name, (n, …).
    """
    return kind_of(node).hypotheses(node, record[node.inputs[0]], record[node.name])
