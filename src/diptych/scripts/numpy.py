"""The layers of a network in NumPy, as objects of the classes that the template defines."""

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
from diptych.scripts.source import call, is_flatten, number

ACTIVATIONS = {"relu": "ReLU", "elu": "ELU", "gelu": "GELU", "tanh": "Tanh"}


def lines(network: Network, indent: int) -> list[str]:
    """One line per layer, or more where a call is long, for a list of layers."""
    return [
        line
        for layer, before, _ in network.steps()
        for function, *arguments in _layers(layer, before)
        for line in call(function, *arguments, after=",", indent=indent)
    ]


def _layers(layer: Layer, before: Shape) -> Iterator[tuple[str, ...]]:
    match layer:
        case Conv():
            size = (str(before[2]), str(layer.filters), str(layer.kernel))
            yield "Conv", "rng", *size, *_window(layer, before, (1, 1))
        case MaxPool():
            yield "MaxPool", str(layer.size), *_window(layer, before, layer.size)
        case AveragePool():
            yield "AveragePool", str(layer.size), *_window(layer, before, layer.size)
        case Dropout():
            if layer.rate:
                yield "Dropout", "rng", number(layer.rate)
        case Flatten():
            if is_flatten(layer, before):
                yield ("Flatten",)
        case Dense():
            yield "Dense", "rng", str(before[0]), str(layer.units)
        case BatchNorm():
            settings = (f"momentum={number(layer.momentum)}", f"epsilon={number(layer.epsilon)}")
            yield "BatchNorm", str(before[-1]), *settings
        case Activate():
            pass
        case _:
            assert_never(layer)
    if isinstance(layer, Conv | Dense | Activate):
        if layer.activation == "leaky_relu":
            yield "LeakyReLU", number(layer.slope or 0.0)
        elif layer.activation != "linear":
            yield (ACTIVATIONS[layer.activation],)


def _window(
    layer: Conv | MaxPool | AveragePool, before: Shape, usual: tuple[int, int]
) -> Iterator[str]:
    if layer.steps != usual:
        yield f"stride={layer.steps}"
    pads = layer.pads(before)
    if any(map(any, pads)):
        yield f"pads={pads}"
