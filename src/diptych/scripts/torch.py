"""The layers of a network in PyTorch."""

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
from diptych.scripts.source import call, is_flatten, number, pair

ACTIVATIONS = {"relu": "nn.ReLU", "elu": "nn.ELU", "gelu": "nn.GELU", "tanh": "nn.Tanh"}


def lines(network: Network, indent: int) -> list[str]:
    """One line per module, or more where a call is long, for the arguments of ``Sequential``."""
    return [
        line
        for layer, before, _ in network.steps()
        for function, *arguments in _modules(layer, before)
        for line in call(function, *arguments, after=",", indent=indent)
    ]


def _modules(layer: Layer, before: Shape) -> Iterator[tuple[str, ...]]:
    match layer:
        case Conv():
            yield from _convolution(layer, before)
        case MaxPool():
            yield from _max_pool(layer, before)
        case AveragePool():
            yield from _average_pool(layer, before)
        case Dropout():
            if layer.rate:
                yield "nn.Dropout", number(layer.rate)
        case Flatten():
            if is_flatten(layer, before):
                yield ("nn.Flatten",)
        case Dense():
            yield "nn.Linear", str(before[0]), str(layer.units)
        case BatchNorm():
            name = "nn.BatchNorm2d" if len(before) == 3 else "nn.BatchNorm1d"
            settings = (f"eps={number(layer.epsilon)}", f"momentum={number(1 - layer.momentum)}")
            yield name, str(before[-1]), *settings
        case Activate():
            pass
        case _:
            assert_never(layer)
    if isinstance(layer, Conv | Dense | Activate):
        if layer.activation == "leaky_relu":
            yield "nn.LeakyReLU", number(layer.slope or 0.0)
        elif layer.activation != "linear":
            yield (ACTIVATIONS[layer.activation],)


def _convolution(layer: Conv, before: Shape) -> Iterator[tuple[str, ...]]:
    size = (str(before[2]), str(layer.filters), pair(layer.kernel))
    if layer.stride == (1, 1):
        padding = ['padding="same"'] if layer.padding == "same" else []
        yield "nn.Conv2d", *size, *padding
        return
    (top, bottom), (left, right) = layer.pads(before)
    stride = f"stride={pair(layer.stride)}"
    if (top, left) != (bottom, right):  # PyTorch pads both ends alike.
        yield "nn.ZeroPad2d", str((left, right, top, bottom))
        yield "nn.Conv2d", *size, stride
    elif top or left:
        yield "nn.Conv2d", *size, stride, f"padding={pair((top, left))}"
    else:
        yield "nn.Conv2d", *size, stride


def _max_pool(layer: MaxPool, before: Shape) -> Iterator[tuple[str, ...]]:
    (top, bottom), (left, right) = layer.pads(before)
    size = (pair(layer.size), *_stride(layer))
    if (top, left) != (bottom, right):
        yield "nn.ConstantPad2d", str((left, right, top, bottom)), "-torch.inf"
        yield "nn.MaxPool2d", *size
    elif top or left:
        yield "nn.MaxPool2d", *size, f"padding={pair((top, left))}"
    else:
        yield "nn.MaxPool2d", *size


def _average_pool(layer: AveragePool, before: Shape) -> Iterator[tuple[str, ...]]:
    """With ``ceil_mode`` PyTorch pads the end by what is left over, and does not count it.

    At a stride of 1 nothing is left over, so both ends are padded as the longer one, and the row or
    column that is too many is cut off.
    """
    (top, bottom), (left, right) = layer.pads(before)
    size, (down, across) = (pair(layer.size), *_stride(layer)), layer.steps
    if not any((top, bottom, left, right)):
        yield "nn.AvgPool2d", *size
        return
    padding = (bottom if down == 1 else top, right if across == 1 else left)
    given = [f"padding={pair(padding)}"] if any(padding) else []
    yield "nn.AvgPool2d", *size, *given, "ceil_mode=True", "count_include_pad=False"
    if padding != (top, left):
        yield "nn.ZeroPad2d", str((left - padding[1], 0, top - padding[0], 0))


def _stride(layer: MaxPool | AveragePool) -> list[str]:
    return [f"stride={pair(layer.steps)}"] if layer.steps != layer.size else []
