"""Networks with several outputs, joined to one, beside networks with fewer.

A variational autoencoder may return its mean and variance beside what it reconstructs, and a
classifier may return auxiliary outputs, or do so in training alone. What both sides have is
compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diptych.auditing.graph import Graph

JOINED = ("outputs joined", "outputs_joined")
"""The names of the last node of a network whose outputs an adapter has joined to one."""


@dataclass(frozen=True)
class Output:
    """One of several outputs."""

    name: str
    """The node that it comes from."""
    start: int
    """The first of its columns in the joined output (n, numbers)."""
    shape: tuple[int, ...]
    """Of an example."""

    @property
    def size(self) -> int:
        """The number of its columns."""
        return int(np.prod(self.shape))


def outputs_of(graph: Graph) -> tuple[Output, ...]:
    """The outputs that a network's last node joins; none for a network with one output."""
    if not graph.nodes or graph.nodes[-1].name not in JOINED:
        return ()
    shapes = {node.name: node.shape for node in graph.nodes}
    outputs: list[Output] = []
    start = 0
    for name in graph.nodes[-1].inputs:
        output = Output(name, start, shapes.get(name, graph.input_shape))
        outputs.append(output)
        start += output.size
    return tuple(outputs)


def shared(graph: Graph, other: Graph) -> Graph:
    """The network up to the one of its outputs that the other side has; unchanged if both have
    several or one, or if no output has the other's size.

    Args:
        graph: a network.
        other: that of the other side.
    """
    outputs = outputs_of(graph)
    if not outputs or not other.nodes or outputs_of(other):
        return graph
    size = int(np.prod(other.nodes[-1].shape))
    last = next((output.name for output in outputs if output.size == size), None)
    by_name = {node.name: node for node in graph.nodes}
    if last not in by_name:
        return graph
    reached: set[str] = set()
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in reached:
            reached.add(name)
            waiting.extend(by_name[name].inputs)
    nodes = [node for node in graph.nodes if node.name in reached and node.name != last]
    return replace(graph, nodes=(*nodes, by_name[last]))


def of_size(y: np.ndarray, outputs: Sequence[Output], size: int) -> np.ndarray:
    """The first of several joined outputs that has this size, (n, …); all of them if none has.

    Args:
        y: joined outputs, (n, numbers).
        outputs: what is joined in them.
        size: the number of columns.
    """
    for output in outputs:
        if output.size == size and y.ndim == 2 and output.start + size <= y.shape[1]:
            own = y[:, output.start : output.start + size]
            return own.reshape(len(y), *output.shape)
    return y
