"""The layers of a network in low-level TensorFlow: its variables, and what it does with them."""

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
from diptych.scripts.source import fan, is_flatten, number, pair, statements, string

ACTIVATIONS = {"relu": "tf.nn.relu", "elu": "tf.nn.elu", "gelu": "tf.nn.gelu", "tanh": "tf.tanh"}


def variables(network: Network) -> list[str]:
    """The items of a dictionary, one line per variable."""
    result = []
    for name, shape in network.weight_shapes().items():
        match name.split("/")[1]:
            case "kernel":
                value = f"glorot({fan(shape)})"
            case "gamma":
                value = f"tf.Variable(tf.ones({shape[0]}))"
            case "moving_variance":
                value = f"tf.Variable(tf.ones({shape[0]}), trainable=False)"
            case "moving_mean":
                value = f"tf.Variable(tf.zeros({shape[0]}), trainable=False)"
            case _:
                value = f"zeros({shape[0]})"
        result.append(f'            "{name}": {value},')
    return result


def lines(network: Network, indent: int) -> list[str]:
    """The code that computes the logits from ``x``, with the variables in ``w``."""
    steps = [step for layer, before, _ in network.steps() for step in _steps(layer, before)]
    return statements(steps, indent)


def _steps(layer: Layer, before: Shape) -> Iterator[tuple[str, ...]]:
    kernel, bias = f'w["{layer.name}/kernel"]', f'w["{layer.name}/bias"]'
    match layer:
        case Conv():
            stride, padding = f"strides={pair(layer.stride)}", _padding(layer)
            yield "tf.nn.conv2d", "x", kernel, stride, padding
            yield from _activated(layer, f"x + {bias}")
        case MaxPool() | AveragePool():
            function = "max_pool2d" if isinstance(layer, MaxPool) else "avg_pool2d"
            window = (f"ksize={pair(layer.size)}", f"strides={pair(layer.steps)}")
            yield f"tf.nn.{function}", "x", *window, _padding(layer)
        case Dropout():
            if layer.rate:
                yield "dropout", "x", number(layer.rate), "training"
        case Flatten():
            if is_flatten(layer, before):
                yield "tf.reshape", "x", f"[-1, {layer.output_shape(before)[0]}]"
        case Dense():
            yield from _activated(layer, f"x @ {kernel} + {bias}")
        case BatchNorm():
            settings = (number(layer.momentum), number(layer.epsilon))
            yield "self.batch_norm", "x", string(layer.name), *settings, "training"
        case Activate():
            yield from _activated(layer, "x")
        case _:
            assert_never(layer)


def _activated(layer: Conv | Dense | Activate, value: str) -> Iterator[tuple[str, ...]]:
    match layer.activation:
        case "linear":
            if value != "x":
                yield "", value
        case "leaky_relu":
            yield "tf.nn.leaky_relu", value, f"alpha={number(layer.slope or 0.0)}"
        case name:
            yield ACTIVATIONS[name], value


def _padding(layer: Conv | MaxPool | AveragePool) -> str:
    return f"padding={string(layer.padding.upper())}"
