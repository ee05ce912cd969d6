"""Weights beside the network: training uses them, and predictions do not.

Examples are a discriminator beside its generator, the centres of a loss, or a head that only the
training step uses. No layer of the graph has them, so they are matched by their shapes, in order.
"""

from collections import defaultdict

from diptych.auditing.graph import Arrays, Graph, Node
from diptych.auditing.match import Match


def beside(graph: Graph, own: Arrays) -> list[str]:
    """The names of a side's weights that no layer has."""
    of_layers = parameters_of(graph)
    return [name for name in own if name not in of_layers]


def parameters_of(graph: Graph) -> set[str]:
    """The names of the parameters of all layers."""
    return {name for node in graph.nodes for name in node.parameters.values()}


def matches_beside(a: list[str], b: list[str], of_a: Arrays, of_b: Arrays) -> list[Match]:
    """Matches weights beside both networks: each with the next one of its shape. None are matched
    where one side has others.

    Args:
        a, b: their names on each side.
        of_a, of_b: all weights of each side.
    """
    waiting: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in b:
        waiting[of_b[name].shape].append(name)
    matches: list[Match] = []
    for name in a:
        partners = waiting[of_a[name].shape]
        if not partners:
            return []
        matches.append(Match(_node(name, of_a), _node(partners.pop(0), of_b)))
    return [] if any(waiting.values()) else matches


def _node(name: str, own: Arrays) -> Node:
    """A node that has one weight, as dense layers and convolutions have it."""
    shape = own[name].shape
    role = "kernel" if len(shape) > 1 else "bias"
    return Node(name, "conv" if len(shape) > 2 else "dense", (), shape[-1:], {}, {role: name})
