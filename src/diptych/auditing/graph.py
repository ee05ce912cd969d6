"""What an audit knows of a network: nodes in order, each with what it does as plain data.

A graph says what a framework *does*, not what its user wrote: padding as pixels on each side, an
activation apart from the layer that it was an argument of, `bias_add` as the bias of its layer.
Arrays are in one layout for all frameworks: channels last, kernels ``(*window, in / groups, out)``,
dense kernels ``(in, out)``. A framework that has its channels first is turned round by its adapter,
except that a ``flatten`` keeps the framework's own order and says which it is.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
INPUT = "input"
"""What a node names that takes the network's input."""

KINDS: dict[str, tuple[str, ...]] = {
    "conv": ("strides", "padding", "dilation", "groups"),
    "dense": (),
    "max_pool": ("size", "strides", "padding"),
    "average_pool": ("size", "strides", "padding", "count_padding"),
    "global_average_pool": (),
    "global_max_pool": (),
    "batch_norm": ("epsilon", "momentum", "unbiased", "statistics"),
    "activation": ("function", "slope"),
    "dropout": ("rate",),
    "flatten": ("order",),
    "reshape": ("shape",),
    "pad": ("padding",),
    "rescale": ("scale", "offset"),
    "add": (),
    "concatenate": (),
    "custom": ("class",),
}
"""Each kind of node and its attributes.

``strides``, ``size``, ``dilation``: a list with a number for each spatial axis (1-D or 2-D).
``padding``: ``[[before, after], ...]`` in pixels for each spatial axis.
``count_padding``: whether padding counts in the average.
``momentum``: the share of the old moving average that is kept (Keras' sense, 1 - PyTorch's).
``unbiased``: whether the moving variance takes in n/(n-1) times the batch's variance.
``statistics``: ``moving`` where the layer normalises by the moving averages even in training.
``function``: one of `ACTIVATIONS`; ``slope`` is leaky_relu's on the negative side and elu's alpha,
None for the others.
``order``: ``last`` where the channels are the fastest axis of the flattened vector, ``first``
where the spatial axes are (as a framework with channels first flattens); always ``last`` where
there is nothing but channels.
``shape``: without the batch. ``scale``, ``offset``: y = scale * x + offset, a number or a list by
channel. ``concatenate`` joins the last axis. ``class``: what the user calls it.
"""

ACTIVATIONS = (
    *("relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "tanh", "sigmoid", "softmax"),
    *("log_softmax", "softplus", "silu", "relu6", "exponential"),
)
"""Activation functions that have a name; ``gelu`` is the exact one."""

PARAMETERS = {
    "conv": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_norm": ("gamma", "beta", "mean", "variance"),
}
"""The roles that parameters have in nodes that have any; ``bias``, ``gamma`` and ``beta`` may be
missing. In a ``custom`` node the roles are ``"0"``, ``"1"``, … in the framework's order."""


@dataclass(frozen=True)
class Node:
    """One thing that a network does."""

    name: str
    """The layer's name as the user knows it; unique within the graph."""
    kind: str
    """One of `KINDS`."""
    inputs: tuple[str, ...]
    """The nodes that it takes its input from, or `INPUT`."""
    shape: tuple[int, ...]
    """Its output's shape, channels last, without the batch."""
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    """By role, the name of the parameter."""
    where: str | None = None
    """``file.py:12``, the line of the user's code that made it, where that is known."""


@dataclass(frozen=True)
class Graph:
    """A network's nodes in the order in which they run; the last one gives the output."""

    input_shape: tuple[int, ...]
    """Channels last, without the batch."""
    nodes: tuple[Node, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which `from_dict` makes the same graph."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Graph":
        """The graph of the given plain data, as from JSON."""
        nodes = [
            Node(**node | {"inputs": tuple(node["inputs"]), "shape": tuple(node["shape"])})
            for node in data["nodes"]
        ]
        return cls(tuple(data["input_shape"]), tuple(nodes))
