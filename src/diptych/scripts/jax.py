"""The layers of a network in JAX: its initial weights, and pure functions of them."""

import itertools
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
from diptych.scripts.source import call, is_flatten, number, statements, string

ACTIVATIONS = {
    "relu": ("jax.nn.relu",),
    "elu": ("jax.nn.elu",),
    "gelu": ("jax.nn.gelu", "approximate=False"),
    "tanh": ("jnp.tanh",),
}


def weights(network: Network) -> list[str]:
    """The items of a dictionary of layers, each with its weights."""
    result = []
    for layer, before, _ in network.steps():
        shapes = layer.weight_shapes(before)
        match layer:
            case Conv() | Dense():
                arguments = ("next(keys)", str(shapes["kernel"]))
                result += call("layer", *arguments, before=f'"{layer.name}": ', after=",", indent=8)
            case BatchNorm():
                value = f"normalisation({shapes['gamma'][0]})"
                result.append(f'        "{layer.name}": {value},')
    return result


def moving(network: Network) -> list[str]:
    """The items of a dictionary of batch normalisations' moving averages."""
    return [
        f'        "{layer.name}": (jnp.zeros({before[-1]}), jnp.ones({before[-1]})),'
        for layer, before, _ in network.steps()
        if isinstance(layer, BatchNorm)
    ]


def lines(network: Network, indent: int) -> list[str]:
    """The code that computes the logits from ``x``, with the weights in ``params``."""
    numbers = iter(range(len(network.layers)))
    steps = [_steps(layer, before, numbers) for layer, before, _ in network.steps()]
    return statements(itertools.chain(*steps), indent)


def _steps(layer: Layer, before: Shape, numbers: Iterator[int]) -> Iterator[tuple[str, ...]]:
    weights = f'params["{layer.name}"]'
    match layer:
        case Conv():
            stride, padding = layer.stride, string(layer.padding.upper())
            yield activated(layer, f"conv(x, {weights}, {stride}, {padding})", ACTIVATIONS)
        case MaxPool() | AveragePool():
            function = "max_pool" if isinstance(layer, MaxPool) else "average_pool"
            yield function, "x", str(layer.size), str(layer.steps), string(layer.padding.upper())
        case Dropout():
            if layer.rate:
                yield "dropout", "x", number(layer.rate), "key", str(next(numbers))
        case Flatten():
            if is_flatten(layer, before):
                yield "x.reshape", "len(x)", "-1"
        case Dense():
            yield activated(layer, f"dense(x, {weights})", ACTIVATIONS)
        case BatchNorm():
            settings = (number(layer.momentum), number(layer.epsilon))
            yield "batch_norm", "x", weights, "moving", string(layer.name), *settings, "key"
        case Activate():
            if layer.activation != "linear":
                yield activated(layer, "x", ACTIVATIONS)
        case _:
            assert_never(layer)


def activated(
    layer: Conv | Dense | Activate, value: str, functions: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The call that activates a value.

    Args:
        layer: has the activation.
        value: the source of what is activated.
        functions: the function and its further arguments by the activation's name.
    """
    match layer.activation:
        case "linear":
            return "", value
        case "leaky_relu":
            return "leaky_relu", value, number(layer.slope or 0.0)
        case name:
            function, *named = functions[name]
            return function, value, *named
