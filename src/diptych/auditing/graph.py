"""A network as an audit knows it: nodes in order, each with what it does as plain data.

A graph says what a framework *does*, not what its user wrote: padding as pixels on each side, an
activation apart from the layer that it was an argument of, `bias_add` as the bias of its layer.
Which attributes and parameters a node has depends on its kind (`diptych.auditing.kinds`). Arrays
are in one layout for all frameworks: channels last, kernels ``(*window, in / groups, out)``, dense
kernels ``(in, out)``. If a framework has its channels first, its adapter moves them, except that a
``flatten`` keeps the framework's own order and says which it is.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
INPUT = "input"
"""The name of the network's input in the inputs of nodes."""


@dataclass(frozen=True)
class Node:
    """One operation of a network."""

    name: str
    """The layer's name in the user's framework; unique within the graph."""
    kind: str
    """The name of one of `diptych.auditing.kinds.registry.KINDS`."""
    inputs: tuple[str, ...]
    """The nodes that give its inputs, or `INPUT`."""
    shape: tuple[int, ...]
    """The shape of its output, channels last, without the batch."""
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    """The name of each parameter, by its role in the kind."""
    where: str | None = None
    """The line of the user's code that created it, such as ``file.py:12``, if known."""


@dataclass(frozen=True)
class Graph:
    """A network's nodes in the order of execution; the last one gives the output."""

    input_shape: tuple[int, ...]
    """Channels last, without the batch."""
    nodes: tuple[Node, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which `from_dict` builds the same graph."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Graph":
        """Builds the graph from plain data, such as JSON."""
        nodes = [
            Node(**node | {"inputs": tuple(node["inputs"]), "shape": tuple(node["shape"])})
            for node in data["nodes"]
        ]
        return cls(tuple(data["input_shape"]), tuple(nodes))
