"""The layers of a network in Keras."""

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
from diptych.scripts.source import call, number, pair, string


def lines(network: Network, indent: int) -> list[str]:
    """One line per layer, or more where a call is long, for a list of layers."""
    calls: list[tuple[str, tuple[str, ...]]] = [("keras.Input", (str(network.input_shape),))]
    for layer, before, _ in network.steps():
        calls += _calls(layer, before)
    return [
        line
        for function, arguments in calls
        for line in call(function, *arguments, after=",", indent=indent)
    ]


def _calls(layer: Layer, before: Shape) -> Iterator[tuple[str, tuple[str, ...]]]:
    match layer:
        case Conv():
            stride = [f"strides={pair(layer.stride)}"] if layer.stride != (1, 1) else []
            padding = f"padding={string(layer.padding)}"
            size = (str(layer.filters), pair(layer.kernel))
            yield "layers.Conv2D", (*size, *stride, padding, *_activation(layer))
        case MaxPool() | AveragePool():
            name = "MaxPooling2D" if isinstance(layer, MaxPool) else "AveragePooling2D"
            stride = [f"strides={pair(layer.steps)}"] if layer.steps != layer.size else []
            padding = ['padding="same"'] if layer.padding == "same" else []
            yield f"layers.{name}", (pair(layer.size), *stride, *padding)
        case Dropout():
            if layer.rate:
                yield "layers.Dropout", (number(layer.rate),)
        case Flatten():
            yield "layers.Flatten", ()
        case Dense():
            yield "layers.Dense", (str(layer.units), *_activation(layer))
        case BatchNorm():
            yield (
                "layers.BatchNormalization",
                (f"momentum={number(layer.momentum)}", f"epsilon={number(layer.epsilon)}"),
            )
        case Activate():
            if layer.activation not in ("leaky_relu", "linear"):
                yield "layers.Activation", (string(layer.activation),)
        case _:
            assert_never(layer)
    if isinstance(layer, Conv | Dense | Activate) and layer.activation == "leaky_relu":
        yield "layers.LeakyReLU", (f"negative_slope={number(layer.slope or 0.0)}",)


def _activation(layer: Conv | Dense) -> list[str]:
    if layer.activation in ("leaky_relu", "linear"):
        return []
    return [f"activation={string(layer.activation)}"]
