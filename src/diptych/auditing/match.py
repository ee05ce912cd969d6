"""Matching of the nodes of two graphs, and transfer of weights between them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np

from diptych.auditing.gradients import numbered, places_of
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.kinds.activation import FINAL
from diptych.auditing.kinds.dense import reordered
from diptych.auditing.kinds.registry import comparable, kind_of, role_of
from diptych.auditing.several import JOINED

COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "average")
"""Kinds whose inputs have no order."""
GAP = 0.7
"""The cost of leaving a node unmatched in an alignment; matching different kinds costs more."""


@dataclass(frozen=True)
class Match:
    """Two matched nodes. One of them is None if the side has no counterpart."""

    a: Node | None
    b: Node | None

    def parameters(self) -> list[tuple[str, str, str]]:
        """The role, A's name and B's name of each shared parameter; matched in order if one of the
        nodes is a black box."""
        if self.a is None or self.b is None:
            return []
        of_a, of_b = self.a.parameters, self.b.parameters
        if (self.a.kind == "custom") != (self.b.kind == "custom"):
            roles = of_b if self.a.kind == "custom" else of_a
            return list(zip(roles, of_a.values(), of_b.values(), strict=False))
        return [(role, name, of_b[role]) for role, name in of_a.items() if role in of_b]


Final = str | tuple[str | None, ...] | None
"""A network's final activation, if it has one; of several outputs, if any has one, that of each."""


def simplified(graph: Graph, keep_shapes: bool = False) -> tuple[Graph, Final]:
    """The graph without what changes nothing, and the final activation if it has one.

    Padding joins the convolution or the pool that it is for; nodes that do nothing, and reshaping
    that keeps the order, go, and so does what scales the input, which has a stage of its own. What
    is computed twice of the same, such as a column that is taken out again, is computed once. A
    last softmax or sigmoid is the loss' affair: which of the two has it is a matter of style, as
    long as the loss knows.

    Args:
        graph: a network.
        keep_shapes: keep what only scales or reshapes, so that the graph can still be run.
    """
    nodes: list[Node] = []
    instead: dict[str, str] = {}
    pending: dict[str, Node] = {}
    once: dict[Any, str] = {}
    users, positive = _users(graph), _positive(graph)
    shapes = {INPUT: graph.input_shape} | {node.name: node.shape for node in graph.nodes}
    for node in graph.nodes:
        inputs = tuple(instead.get(name, name) for name in node.inputs)
        node = replace(node, inputs=inputs)
        before = pending.pop(inputs[0], None)
        if before is not None:
            whole = _joined(node, before, positive)
            assert whole is not None
            node = replace(whole, inputs=before.inputs)
        followers = users[node.name]
        if len(followers) == 1 and _joined(followers[0], node, positive) is not None:
            pending[node.name] = node
            continue
        leading = node.kind == "rescale" and inputs[0] == INPUT
        shape = shapes[node.inputs[0]]
        nothing = leading or kind_of(node).does_nothing(node, shape)
        if nothing and not keep_shapes:
            instead[node.name] = node.inputs[0]
            continue
        node = node if keep_shapes else kind_of(node).usual(node, shape)
        first = once.setdefault(_computation(node), node.name)
        if first != node.name and node.name != graph.nodes[-1].name:
            instead[node.name] = first
            continue
        nodes.append(node)
    final: Final = None
    if nodes and nodes[-1].name in JOINED:
        nodes, final = _without_ends(nodes)
    elif nodes and (final := _end(nodes[-1])):
        nodes.pop()
    return Graph(graph.input_shape, tuple(_in_order(nodes))), final


def _end(node: Node) -> str | None:
    """The function of an activation that may be part of the loss."""
    if node.kind != "activation" or node.attributes.get("axis", -1) != -1:
        return None
    function = node.attributes["function"]
    return function if function in FINAL else None


def _without_ends(nodes: list[Node]) -> tuple[list[Node], Final]:
    """The nodes of a network with several outputs without the final activation of each."""
    *others, last = nodes
    by_name = {node.name: node for node in others}
    uses = [name for node in nodes for name in node.inputs]
    ends = {
        name: _end(by_name[name])
        for name in last.inputs
        if name in by_name and uses.count(name) == 1
    }
    dropped = {name for name, end in ends.items() if end}
    if not dropped:
        return nodes, None
    inputs = tuple(by_name[n].inputs[0] if n in dropped else n for n in last.inputs)
    kept = [node for node in others if node.name not in dropped]
    return [*kept, replace(last, inputs=inputs)], tuple(ends.get(name) for name in last.inputs)


def _computation(node: Node) -> Any:
    """A key that two nodes share if they always give the same output; a node of parameters, random
    numbers or unknown code shares it with none."""
    if node.parameters or node.kind == "custom" or kind_of(node).in_training != "same":
        return node.name
    return node.kind, repr(sorted(node.attributes.items())), node.inputs


def _joined(node: Node, before: Node, positive: set[str]) -> Node | None:
    """A node merged with the preceding one, if possible.

    Args:
        node: takes nothing but what the one before gives.
        before: the node before it.
        positive: the names of the nodes whose output has no negative numbers.
    """
    absorb = kind_of(node).absorbs.get(before.kind)
    return absorb(node, before, before.inputs[0] in positive) if absorb else None


def _positive(graph: Graph) -> set[str]:
    """The names of the nodes whose output is never negative, for any input."""
    positive: set[str] = set()
    for node in graph.nodes:
        kind = kind_of(node)
        keeps = kind.keeps_sign and all(name in positive for name in node.inputs)
        if keeps or kind.is_positive(node):
            positive.add(node.name)
    return positive


def _users(graph: Graph) -> dict[str, list[Node]]:
    users: dict[str, list[Node]] = {node.name: [] for node in graph.nodes} | {INPUT: []}
    for node in graph.nodes:
        for name in node.inputs:
            users[name].append(node)
    return users


def _in_order(nodes: list[Node]) -> Iterator[Node]:
    """Sorts the nodes depth first from the output, the longer branch of a sum first, so that the
    order does not depend on the order in the user's code."""
    by_name = {node.name: node for node in nodes}
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth.get(name, 0) for name in node.inputs), default=0)
    done: set[str] = set()
    waiting = [(nodes[-1], False)] if nodes else []
    while waiting:
        node, ready = waiting.pop()
        if node.name in done:
            continue
        if ready:
            done.add(node.name)
            yield node
            continue
        waiting.append((node, True))
        inputs = list(node.inputs)
        if node.kind in COMMUTATIVE:
            inputs.sort(key=lambda name: -depth.get(name, 0))
        waiting.extend((by_name[name], False) for name in reversed(inputs) if name in by_name)


def parameter_shapes(node: Node, parameters: Arrays) -> dict[str, tuple[int, ...]]:
    """The shapes of a node's own parameters, by role."""
    return {role: parameters[name].shape for role, name in node.parameters.items()}


def cost_of(a: Graph, b: Graph, of_a: Arrays, of_b: Arrays) -> float:
    """The cost of matching two simplified graphs; 0 if they are alike."""
    return float(_costs(a, b, of_a, of_b)[-1, -1])


def _costs(a: Graph, b: Graph, of_a: Arrays, of_b: Arrays) -> np.ndarray:
    """The least cost of matching the first nodes of both graphs, for each number of them."""
    one, other = a.nodes, b.nodes
    cost = np.zeros((len(one) + 1, len(other) + 1))
    cost[:, 0] = GAP * np.arange(len(one) + 1)
    cost[0] = GAP * np.arange(len(other) + 1)
    for i, node in enumerate(one):
        for j, partner in enumerate(other):
            together = cost[i, j] + _difference(node, partner, of_a, of_b)
            cost[i + 1, j + 1] = min(together, cost[i, j + 1] + GAP, cost[i + 1, j] + GAP)
    return cost


def align(a: Graph, b: Graph, of_a: Arrays, of_b: Arrays) -> list[Match]:
    """Matches two simplified graphs in order, at the least cost (Needleman & Wunsch, 1970)."""
    one, other = a.nodes, b.nodes
    cost = _costs(a, b, of_a, of_b)
    matches: list[Match] = []
    i, j = len(one), len(other)
    while i or j:
        if i and j:
            here = cost[i - 1, j - 1] + _difference(one[i - 1], other[j - 1], of_a, of_b)
            if here <= cost[i, j] + 1e-9:
                i, j = i - 1, j - 1
                matches.append(Match(one[i], other[j]))
                continue
        if i and cost[i - 1, j] + GAP <= cost[i, j] + 1e-9:
            i -= 1
            matches.append(Match(one[i], None))
        else:
            j -= 1
            matches.append(Match(None, other[j]))
    return matches[::-1]


def _difference(a: Node, b: Node, of_a: Arrays, of_b: Arrays) -> float:
    cost = 0.0
    if not comparable(a, b):
        cost = 0.5 if "custom" in (a.kind, b.kind) else 1.0
    elif a.kind == "custom" and bool(a.parameters) != bool(b.parameters):
        cost = 1.0  # The parameters of the one would have no counterpart.
    if a.shape != b.shape:
        cost += 0.1
    if parameter_shapes(a, of_a) != parameter_shapes(b, of_b):
        cost += 0.1
    return cost + 0.01 * (a.attributes != b.attributes)


def flattened_by(graph: Graph, node: Node) -> tuple[str, tuple[int, ...]] | None:
    """For a dense node after a flatten: the order, and the shape before flattening."""
    by_name = {each.name: each for each in graph.nodes}
    shapes = {INPUT: graph.input_shape} | {each.name: each.shape for each in graph.nodes}
    name = node.inputs[0]
    while name in by_name:
        before = by_name[name]
        if before.kind == "flatten":
            return before.attributes["order"], shapes[before.inputs[0]]
        if not kind_of(before).keeps_order:
            return None
        name = before.inputs[0]
    return None


def turns(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders of the axes of a shape in which it is another shape, the likeliest first: as they
    are, from convolution kernels of one layout to the other and back, then all of them reversed."""
    axes = tuple(range(len(a)))
    windows_first = (*axes[2:], *axes[1::-1])  # (out, in, *window) to (*window, in, out).
    likely = dict.fromkeys(
        [axes, tuple(np.argsort(windows_first).tolist()), windows_first, axes[::-1]]
    )
    likely |= dict.fromkeys(permutations(axes))
    return [order for order in likely if tuple(a[axis] for axis in order) == b]


@dataclass(frozen=True)
class Transfer:
    """The transfer of parameters from side A to side B."""

    names: dict[str, str]
    """B's names of A's parameters, for those of the same shape."""
    orders: dict[str, tuple[tuple[int, ...], str, str]]
    """For dense kernels after a flatten: the shape, A's order, B's order."""
    turned: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """For parameters of unknown layers whose axes are in another order on B: A's axes in B's order.
    """

    @classmethod
    def between(cls, a: Graph, b: Graph, matches: list[Match], of_a: Arrays, of_b: Arrays):
        """The transfer that follows from a matching of two simplified graphs."""
        names: dict[str, str] = {}
        orders: dict[str, tuple[tuple[int, ...], str, str]] = {}
        turned: dict[str, tuple[int, ...]] = {}
        for match in matches:
            if match.a is None or match.b is None:
                continue
            for role, name, partner in match.parameters():
                if of_a[name].shape != of_b[partner].shape:
                    ways = turns(of_a[name].shape, of_b[partner].shape)
                    if ways and "custom" in (match.a.kind, match.b.kind):
                        names[name], turned[name] = partner, ways[0]
                    continue
                names[name] = partner
                if role_of(match.a, role).rows_follow_input:
                    one, other = flattened_by(a, match.a), flattened_by(b, match.b)
                    if one and other and one[1] == other[1]:
                        orders[name] = (one[1], one[0], other[0])
        return cls(names, orders, turned)

    def with_names(
        self, names: dict[str, str], turned: dict[str, tuple[int, ...]] | None = None
    ) -> "Transfer":
        """The transfer with these counterparts of these parameters, and these orders of their
        axes."""
        others = {name: axes for name, axes in self.turned.items() if name not in names}
        return Transfer(self.names | names, self.orders, others | (turned or {}))

    def to_b(self, parameters: Arrays) -> Arrays:
        """A's parameters, by B's names and in B's order."""
        return {
            self.names[name]: self._reordered(name, value, forward=True)
            for name, value in parameters.items()
            if name in self.names
        }

    def to_a(self, parameters: Arrays) -> Arrays:
        """B's parameters, by A's names and in A's order."""
        return {
            name: self._reordered(name, parameters[partner], forward=False)
            for name, partner in self.names.items()
            if partner in parameters
        }

    def places_to_b(self, places: Arrays, own: Arrays) -> Arrays:
        """Flat indices into A's parameters, converted to those of the same values in B's.

        Args:
            places: by A's names.
            own: A's parameters.
        """
        return places_of(self.to_b(numbered(places, own)))

    def _reordered(self, name: str, value: np.ndarray, forward: bool) -> np.ndarray:
        if name in self.turned:
            axes = self.turned[name]
            return np.ascontiguousarray(
                value.transpose(axes if forward else tuple(np.argsort(axes)))
            )
        if name not in self.orders:
            return value
        shape, of_a, of_b = self.orders[name]
        order, wanted = (of_a, of_b) if forward else (of_b, of_a)
        return reordered(value, shape, order, wanted)
