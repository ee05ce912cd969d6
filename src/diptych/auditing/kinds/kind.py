"""A kind of layer as data: everything that the audit knows about it independent of a framework."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from diptych.auditing.graph import Arrays, Node

Array = Any
"""A NumPy array, or an array of autograd."""
Parameters = Mapping[str, Array]
"""A node's own parameters, by role."""
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""The shapes of a node's own parameters, by role."""


@dataclass(frozen=True)
class Role:
    """One parameter of a kind."""

    meaning: str
    required: bool = True
    average: bool = False
    """True if it is a moving average, which no optimiser trains."""
    initialiser: str = "kernel-initialiser"
    """The cause of a difference in its initial values."""
    stir: Literal["", "add", "scale"] = ""
    """How its values are varied before outputs are compared, because equal values hide mistakes: by
    adding to them, by scaling them (which keeps them positive), or not at all."""
    rows_follow_input: bool = False
    """True if its rows are in the order of the input's values, so that flattening in a different
    order reorders them."""


@dataclass(frozen=True)
class Difference:
    """A difference between the settings of two matched nodes."""

    code: str
    """One of `diptych.auditing.causes.CAUSES`."""
    a: str
    b: str
    """The value on each side, in words."""
    _: KW_ONLY
    changed: Node | None = None
    """A's node with B's setting, if its effect on the outputs can be computed; a difference
    without any effect is not reported."""
    effect: str = ""
    """The effect in words, if it is known without computing anything."""
    conventional: bool = False
    """True if frameworks differ in this by convention, so that it counts only between two sides
    that follow the same one."""


Words = Callable[[Node], str]
Compute = Callable[[Node, Parameters, Sequence[Array], bool], Array]
Rounding = Callable[[Node, Arrays, Sequence[np.ndarray], np.ndarray, bool], np.ndarray]
SharedRounding = Callable[[Node, Arrays, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Differences = Callable[[Node, Node, Shapes, Shapes], list[Difference]]
Hypotheses = Callable[[Node, np.ndarray, np.ndarray], list[tuple[str, Node]]]
Guesses = Callable[[Node, list[np.ndarray], np.ndarray], list[Node]]


def no_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """The differences of two nodes of a kind without settings."""
    return []


def no_hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """The hypotheses of a kind that has none."""
    return []


def no_guesses(node: Node, inputs: list[np.ndarray], y: np.ndarray) -> list[Node]:
    """The guesses of a kind that has none."""
    return []


def always_acts(node: Node, shape: Shape) -> bool:
    """The test of a kind whose nodes always have an effect."""
    return False


def may_be_negative(node: Node) -> bool:
    """The test of a kind whose outputs may be negative."""
    return False


def as_it_is(node: Node, shape: Shape) -> Node:
    """The usual form of a kind with only one form."""
    return node


@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    All functions take and give arrays (n, …) with channels last.
    """

    name: str
    attributes: Mapping[str, str]
    """The attributes of its nodes, each with its meaning."""
    words: Words
    """A node in words, with its important settings."""
    compute: Compute | None
    """The computation: (node, parameters by role, inputs, training) to output. It is written with
    `autograd.numpy`, which gives its gradient. No random numbers are drawn: dropout drops nothing.
    It raises ValueError, TypeError or IndexError for shapes that the node cannot take. None for a
    kind that only its framework can compute."""
    rounding: Rounding | None
    """The rounding error of each value of y, in units of the unit roundoff: (node, parameters by
    role, inputs, y, training) to an array that broadcasts to y."""
    optional: frozenset[str] = frozenset()
    """The attributes that a node may lack."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    shared_rounding: SharedRounding | None = None
    """The errors in training that all numbers of a channel share, since they come from sums over
    the batch; (node, parameters, x, y) to those of the mean and of the variance."""
    differences: Differences = no_differences
    """The differences of two matched nodes: (A's node, B's node, the shapes of A's parameters, the
    shapes of B's)."""
    hypotheses: Hypotheses = no_hypotheses
    """Other things that a node may compute than it declares, each with the cause: (node, its
    recorded input, its recorded output)."""
    guesses: Guesses = no_guesses
    """Nodes of this kind that a black box may be, likelier ones first: (the black box, its recorded
    inputs, its recorded output), all float64."""
    comparable: tuple[str, ...] = ()
    """Other kinds that it can be compared with: `differences` also takes a node of one of them."""
    does_nothing: Callable[[Node, Shape], bool] = always_acts
    """True if a node has no effect: (node, its input's shape without the batch)."""
    usual: Callable[[Node, Shape], Node] = as_it_is
    """The usual form of a node that can be written in several ways."""
    absorbs: Mapping[str, Callable[[Node, Node, bool], Node | None]] = field(default_factory=dict)
    """The merger with a preceding node, by its kind: (node, the preceding node, whether the input
    of the preceding node is never negative) to the merged node, or None if they stay two."""
    keeps_sign: bool = False
    """True if the output is never negative if no input is negative."""
    is_positive: Callable[[Node], bool] = may_be_negative
    """True if the output is never negative for any input."""
    keeps_order: bool = False
    """True if the node is elementwise."""
    in_training: Literal["same", "draws", "statistics", "unknown"] = "same"
    """Its additional behaviour in training: drawing random numbers, or normalising by the batch
    statistics and updating moving averages."""


def has_attributes(node: Node, kind: Kind) -> bool:
    """True if a node has all attributes of its kind, except optional ones, and no others."""
    required = kind.attributes.keys() - kind.optional
    return required <= node.attributes.keys() <= kind.attributes.keys()


def with_attributes(node: Node, **attributes: Any) -> Node:
    """The node with some attributes changed."""
    return replace(node, attributes=node.attributes | attributes)


def with_those_of(node: Node, other: Node, *names: str) -> Node:
    """The node with some of another node's attributes."""
    return with_attributes(node, **{name: other.attributes[name] for name in names})


def differ(a: float | None, b: float | None) -> bool:
    """True if two settings differ by more than float32's rounding."""
    if a is None or b is None:
        return a is not b
    return abs(a - b) > 1e-6 * max(abs(a), abs(b))


def times(values: Sequence[int]) -> str:
    """Sizes in words, such as ``3×3``."""
    return "×".join(map(str, values))


def optional_role(role: str, of_a: Shapes, of_b: Shapes, code: str, what: str) -> list[Difference]:
    """The difference of two nodes of which only one has an optional parameter.

    Args:
        role: the parameter's role.
        of_a: the shapes of A's parameters.
        of_b: the shapes of B's parameters.
        code: the cause.
        what: the parameter in words, with its article.
    """
    if (role in of_a) == (role in of_b):
        return []
    without = "no bias" if what == "a bias" else f"without {what}"
    a, b = (f"with {what}" if role in of else without for of in (of_a, of_b))
    return [Difference(code, a, b)]
