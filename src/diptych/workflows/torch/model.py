"""The network in PyTorch: modules, their loss, and one step of ``torch.optim``."""

from collections.abc import Iterator
from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.data.batches import to_float
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
from diptych.workflows.torch.layers import BiasedBatchNorm, FlattenChannelsLast, at_least_float32


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 images (n, height, width, channels) as float32 (n, channels, height, width).

    The numbers stay where they are, channels last in memory; PyTorch only counts its axes so.
    """
    return torch.from_numpy(to_float(images)).permute(0, 3, 1, 2)


def modules(layer: Layer, shape: Shape) -> Iterator[nn.Module]:
    """The modules of a layer, in order, for images or flat values of that shape."""
    match layer:
        case Conv():
            (top, bottom), (left, right) = layer.pads(shape)
            padding = (top, left)
            if (top, left) != (bottom, right):
                yield nn.ZeroPad2d((left, right, top, bottom))
                padding = 0
            yield nn.Conv2d(shape[2], layer.filters, layer.kernel, layer.stride, padding)
        case MaxPool() | AveragePool():
            # PyTorch pads both ends equally, and ``ceil_mode`` pads the far end as needed. At a
            # stride of 1 that adds nothing, so one row too many is computed and cut off.
            ((top, bottom), (left, right)), (down, across) = layer.pads(shape), layer.steps
            padding = (bottom if down == 1 else top, right if across == 1 else left)
            same = layer.padding == "same"
            if isinstance(layer, MaxPool):
                yield nn.MaxPool2d(layer.size, layer.steps, padding, ceil_mode=same)
            else:
                yield nn.AvgPool2d(layer.size, layer.steps, padding, same, count_include_pad=False)
            if padding != (top, left):
                yield nn.ZeroPad2d((left - padding[1], 0, top - padding[0], 0))
        case Dropout():
            yield nn.Dropout(layer.rate)
        case Flatten():
            yield FlattenChannelsLast(shape)
        case Dense():
            yield nn.Linear(shape[0], layer.units)
        case BatchNorm():
            yield BiasedBatchNorm(shape[-1], layer.epsilon, momentum=1 - layer.momentum)
        case Activate():
            pass
        case _:
            assert_never(layer)
    if isinstance(layer, Conv | Dense | Activate):
        match layer.activation:
            case "relu":
                yield nn.ReLU()
            case "leaky_relu":
                yield nn.LeakyReLU(layer.slope or 0.0)
            case "elu":
                yield nn.ELU()
            case "gelu":
                yield nn.GELU()
            case "tanh":
                yield nn.Tanh()


class Model(nn.Module):
    """The network: float32 images (n, channels, height, width) to float32 logits (n, classes)."""

    def __init__(self, network: Network, precision: str) -> None:
        super().__init__()
        self.precision = precision
        self.layers = nn.Sequential()
        for layer, before, _ in network.steps():
            # Some names, such as ``forward``, are used by PyTorch itself.
            name = layer.name + "_" * hasattr(self.layers, layer.name)
            self.layers.add_module(name, nn.Sequential(*modules(layer, before)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return at_least_float32(self.layers(x))


def loss_and_accuracy(model: Model, images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, float]:
    """Mean loss of one batch, to be derived, and accuracy."""
    logits, truth = model(to_tensor(images)), torch.from_numpy(labels)
    accuracy = (logits.argmax(1) == truth).float().mean().item()
    return F.cross_entropy(logits, truth), accuracy
