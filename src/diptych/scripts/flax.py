"""The layers of a network in Flax NNX: the attributes of a module, and what it does with them."""

import keyword
from collections.abc import Iterator
from typing import assert_never

from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Shape,
)
from diptych.network import Network
from diptych.scripts.jax import activated
from diptych.scripts.source import call, is_flatten, number, pair, statements, string

ACTIVATIONS = {
    "relu": ("nnx.relu",),
    "elu": ("nnx.elu",),
    "gelu": ("nnx.gelu", "approximate=False"),
    "tanh": ("nnx.tanh",),
}
TAKEN = {
    "eval",
    "iter_children",
    "iter_modules",
    "perturb",
    "set_attributes",
    "set_mode",
    "sow",
    "train",
}
"""The names of ``nnx.Module``'s own methods."""


def attributes(network: Network) -> list[str]:
    """The statements that make the layers with weights or random numbers."""
    result = []
    for layer, before, _ in network.steps():
        match layer:
            case Conv():
                stride = [f"strides={pair(layer.stride)}"] if layer.stride != (1, 1) else []
                padding = [f"padding={string('VALID')}"] if layer.padding == "valid" else []
                size = (str(before[2]), str(layer.filters), str(layer.kernel))
                made = ("Conv", *size, *stride, *padding, "rngs=rngs")
            case Dense():
                made = ("Linear", str(before[0]), str(layer.units), "rngs=rngs")
            case BatchNorm():
                settings = (
                    f"momentum={number(layer.momentum)}",
                    f"epsilon={number(layer.epsilon)}",
                )
                made = ("nnx.BatchNorm", str(before[-1]), *settings, "rngs=rngs")
            case Dropout(rate=rate) if rate:
                made = ("nnx.Dropout", number(rate), "rngs=rngs")
            case _:
                continue
        result += call(*made, before=f"self.{_attribute(layer)} = ", indent=8)
    return result


def lines(network: Network, indent: int) -> list[str]:
    """The code that computes the logits from ``x``."""
    steps = [step for layer, before, _ in network.steps() for step in _steps(layer, before)]
    return statements(steps, indent)


def _steps(layer: Layer, before: Shape) -> Iterator[tuple[str, ...]]:
    match layer:
        case MaxPool() | AveragePool():
            function = "nnx.max_pool" if isinstance(layer, MaxPool) else "nnx.avg_pool"
            padding = [f"padding={string('SAME')}"] if layer.padding == "same" else []
            if padding and isinstance(layer, AveragePool):
                padding.append("count_include_pad=False")
            yield function, "x", str(layer.size), f"strides={layer.steps}", *padding
        case Flatten():
            if is_flatten(layer, before):
                yield "x.reshape", "len(x)", "-1"
        case Conv() | Dense():
            yield activated(layer, f"self.{_attribute(layer)}(x)", ACTIVATIONS)
        case BatchNorm():
            yield f"self.{_attribute(layer)}", "x"
        case Dropout():
            if layer.rate:
                yield f"self.{_attribute(layer)}", "x"
        case Activate():
            if layer.activation != "linear":
                yield activated(layer, "x", ACTIVATIONS)
        case _:
            assert_never(layer)


def _attribute(layer: Layer) -> str:
    taken = keyword.iskeyword(layer.name) or layer.name in TAKEN
    return layer.name + "_" * taken
