"""Inputs that are token ids, which an embedding looks up."""

import numpy as np

from diptych.auditing.graph import INPUT, Arrays, Graph, Node

KEEP = ("reshape", "flatten", "custom", "rearrange", "slice")
"""Kinds that may be between the input and the embedding."""


def embedding_of(graph: Graph) -> Node | None:
    """The first embedding that the network's input reaches unchanged; None for other networks."""
    reached = {INPUT}
    for node in graph.nodes:
        if not node.inputs or node.inputs[0] not in reached:
            continue
        name = str(node.attributes.get("class", ""))
        if node.kind == "embedding" or (name.lower() == "embedding" and node.parameters):
            return node
        if node.kind in KEEP and not node.parameters:
            reached.add(node.name)
    return None


def vocabulary(graph: Graph, parameters: Arrays) -> int | None:
    """The number of ids in the vocabulary; None if the network takes no ids."""
    node = embedding_of(graph)
    if node is None:
        return None
    return max(parameters[name].shape[0] for name in node.parameters.values())


def drawn(
    graph: Graph, parameters: Arrays, count: int, chance: np.random.Generator
) -> np.ndarray | None:
    """Ids within the vocabulary, int64 (count, *input shape), each row padded at its end by
    another length; None where the network takes no ids."""
    size, node = vocabulary(graph, parameters), embedding_of(graph)
    if size is None or node is None:
        return None
    ids = chance.integers(size, size=(count, *graph.input_shape))
    padding = node.attributes.get("padding_index")
    length = graph.input_shape[-1] if graph.input_shape else 1
    for row in range(count):
        behind = row % (length // 2 + 1)
        if behind:
            ids[row, ..., -behind:] = 0 if padding is None else padding
    return ids
