"""Small PyTorch sides for the tests of its adapter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from diptych.auditing.frameworks.torch.adapter import Adapter

RNG = np.random.Generator(np.random.Philox(7))


def side(
    module: Callable[[], nn.Module],
    loss: Any = None,
    optimizer: Callable[..., Any] = torch.optim.SGD,
    extras: Callable[..., dict[str, Any]] | None = None,
    **settings: Any,
) -> Adapter:
    """A side whose function makes its module, loss and optimizer anew at every call."""

    def build(seed: int) -> Any:
        network = module()
        steps = optimizer(network.parameters(), **({"lr": 0.1} | settings))
        parts = network, loss or nn.CrossEntropyLoss(), steps
        return (*parts, extras(*parts)) if extras else parts

    return Adapter(build)


def fed(*shape: int, classes: int = 10) -> Callable[..., dict[str, Any]]:
    """Extras with data of a shape."""
    x = RNG.normal(size=(8, *shape)).astype(np.float32)
    return lambda *parts: {"data": (x, np.arange(8) % classes)}


def images(count: int = 6) -> np.ndarray:
    return RNG.random((count, 28, 28, 1), np.float32)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def line(file: str, text: str) -> str:
    """Where a piece of text stands in a file for the first time, as ``file.py:12``."""
    lines = Path(file).read_text().splitlines()
    return f"{Path(file).name}:{next(i for i, code in enumerate(lines, 1) if text in code)}"


def small() -> nn.Module:
    """A convolution, batch normalisation and dropout for digits."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(4 * 13 * 13, 10),
    )


class Plain(nn.Module):
    """A dense layer on what a function makes of the flattened image."""

    def __init__(self, change: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change
        self.out = nn.Linear(784, 10)

    def forward(self, x):
        return self.out(F.relu(self.change(self, x.flatten(1))))
