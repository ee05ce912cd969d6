"""Recurrent layers that begin with the last states of others, in any framework."""

from dataclasses import replace
from typing import Any

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import INPUT, Node
from diptych.auditing.kinds.directions import RECURRENT
from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import kind_of

CHANCE = np.random.default_rng(0)


def numbers(*shape: int) -> np.ndarray:
    return CHANCE.standard_normal(shape).astype(np.float32)


X = numbers(6, 5, 4)


def read_as(side: Any, expected: list[str], x: np.ndarray = X) -> list[Node]:
    """Checks that a side's recurrent layers are these and compute what the side records, alone and
    within the network; gives their nodes.

    Args:
        side: an adapter.
        expected: for each layer its kind, what it returns and the states that it is given.
        x: inputs.
    """
    graph, own = side.graph(), side.parameters()
    own = {k: (v + CHANCE.normal(0, 0.3, v.shape)).astype(np.float32) for k, v in own.items()}
    side.load(own)
    nodes = [node for node in graph.nodes if node.kind in RECURRENT]
    words = [" ".join([n.kind, n.attributes["returns"], *n.attributes["initial"]]) for n in nodes]
    assert words == expected
    assert all(has_attributes(node, kind_of(node)) for node in nodes)
    record = side.record(x, False) | {INPUT: x}
    distances = reference.check(graph, own, record, False)
    assert all(distances[node.name].ratio <= 1 for node in nodes), distances
    for node in nodes:
        if not node.attributes["initial"]:
            continue
        zeros = replace(node, attributes=node.attributes | {"initial": []})
        assert reference.ratios([zeros], own, record, False)[0] > 1
        others = [record[name] for name in node.inputs]
        if not node.attributes["masked"]:
            others = [numbers(*value.shape) for value in others]
        y = side.run_node(node.name, others, False)
        swapped = record | dict(zip(node.inputs, others, strict=True)) | {node.name: y}
        assert reference.ratios([node], own, swapped, False)[0] <= 1
    return nodes
