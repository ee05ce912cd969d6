"""Public reports of two frameworks that differ: the half in PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SIDE = tuple[nn.Module, nn.Module, torch.optim.Optimizer, dict[str, Any]]
CLASSES = 10


def trained(network: nn.Module, optimizer: torch.optim.Optimizer, shape: tuple[int, ...]) -> SIDE:
    """The side, with images and classes."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, *shape)).astype("float32")
    data = {"data": (x, generator.integers(0, CLASSES, 8))}
    return network, nn.CrossEntropyLoss(), optimizer, data


def pytorch_170016() -> SIDE:
    """A convolution of 384 channels, of which the report says that PyTorch computes another."""
    network = nn.Sequential(
        nn.Conv2d(384, 256, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, CLASSES, bias=False),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return trained(network, torch.optim.SGD(network.parameters(), 0.01), (384, 13, 13))


def convolution(inputs: int, filters: int, size: int, stride: int) -> nn.Sequential:
    """A convolution without bias, padded on both sides, and batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, filters, size, stride, size // 2, bias=False), nn.BatchNorm2d(filters)
    )


class Residual(nn.Module):
    """A residual block with a stride, as torchvision's ResNet has it."""

    def __init__(self):
        super().__init__()
        self.stem = convolution(3, 8, 3, 1)
        self.first, self.second = convolution(8, 16, 3, 2), convolution(16, 16, 3, 1)
        self.shortcut = convolution(8, 16, 1, 2)
        self.head = nn.Linear(16, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.stem(images))
        hidden = self.second(torch.relu(self.first(x)))
        return self.head(torch.relu(hidden + self.shortcut(x)).mean((2, 3)))


def benchopt_30() -> SIDE:
    network = Residual()
    sgd = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    return trained(network, sgd, (3, 16, 16))
