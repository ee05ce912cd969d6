"""Replacement of black boxes that behave like known layers."""

from dataclasses import replace

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.kinds.registry import guesses
from diptych.auditing.side import Side


def identified(side: Side, x: np.ndarray) -> Graph:
    """The side's graph, with black boxes that behave like known layers replaced by those.

    Args:
        side: the side, as it was opened.
        x: inputs to see the black boxes' behaviour on, (n, …).
    """
    graph = side.graph
    nodes = {node.name: node for node in graph.nodes}
    sources = {node.name: _common_source(node, nodes) for node in graph.nodes}
    if all(node.kind != "custom" and not sources[node.name] for node in graph.nodes):
        return graph
    record = side.record(x, False) | {INPUT: x}
    for node in graph.nodes:
        source = sources[node.name]
        recorded = all(name in record for name in (node.name, *node.inputs, source or INPUT))
        if (node.kind == "custom" or source) and recorded and not node.parameters:
            alone = replace(node, inputs=(source,)) if source else node
            known = _known(alone, record)
            if known and _same_in_training(side, node, known, record):
                nodes[node.name] = known
        before = nodes.get(node.inputs[0])
        if node.kind == "flatten" and before and before.kind == "custom":
            nodes[node.name] = _as_one_flatten(node, before, record) or node
    used = _used(nodes, graph.nodes[-1].name)
    return replace(graph, nodes=tuple(node for node in nodes.values() if node.name in used))


def _used(nodes: dict[str, Node], last: str) -> set[str]:
    """The names of the nodes that the last one depends on, including its own."""
    used, waiting = set(), [last]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in used:
            used.add(name)
            waiting += nodes[name].inputs
    return used


def _known(node: Node, record: Arrays) -> Node | None:
    """The first guess with the recorded output."""
    candidates = guesses(node, record)
    ratios = reference.ratios(candidates, {}, record, False)
    return next((c for c, ratio in zip(candidates, ratios, strict=True) if ratio <= 1), None)


def _same_in_training(side: Side, node: Node, known: Node, record: Arrays) -> bool:
    """True if a node has the same output in training and inference, unlike a layer of noise."""
    y = side.run_node(node.name, [record[name] for name in node.inputs], True)
    in_training = {name: record[name] for name in known.inputs} | {node.name: y}
    return reference.ratios([known], {}, in_training, False)[0] <= 1


def _common_source(node: Node, nodes: dict[str, Node]) -> str | None:
    """The nearest node that all inputs are elementwise functions of: x for ``maximum(x, 0.2 * x)``.
    None if there is none, or for a single input."""
    if len(node.inputs) < 2:
        return None
    first, *others = (_sources(name, nodes) for name in node.inputs)
    return next((name for name in first if all(name in other for other in others)), None)


def _sources(name: str, nodes: dict[str, Node]) -> list[str]:
    """A node, and the preceding nodes that it is an elementwise function of, nearest first."""
    names = [name]
    while (before := nodes.get(name)) and before.kind in ("rescale", "activation"):
        name = before.inputs[0]
        names.append(name)
    return names


def _as_one_flatten(node: Node, before: Node, record: Arrays) -> Node | None:
    """A permutation and the following flatten, as one flatten."""
    x, y = record.get(before.inputs[0]), record.get(node.name)
    if x is None or y is None or x.size != y.size or before.parameters:
        return None
    orders = {"last": x, "first": np.moveaxis(x, -1, 1)}
    fits = [order for order, turned in orders.items() if np.array_equal(turned.ravel(), y.ravel())]
    return replace(node, inputs=before.inputs, attributes={"order": fits[0]}) if fits else None
