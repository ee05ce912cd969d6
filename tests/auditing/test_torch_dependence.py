"""Losses of more than outputs and targets: what the forward left behind, or the inputs."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.auditing.frameworks.torch.adapter import Adapter

X = np.random.default_rng(3).random((16, 6)).astype(np.float32)


class Coder(nn.Module):
    """An autoencoder that keeps its code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 2), nn.Linear(2, 6)
        self.seen = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.code = self.encoder(x)
        return self.decoder(self.code)


def build(kind: str) -> Any:
    module = Coder()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    losses = {
        "code": lambda output, y: F.mse_loss(output, y) + module.code.square().mean(),
        "penalty": lambda output, y: F.mse_loss(output, y) + module.decoder.weight.square().sum(),
        "drawn": lambda output, y: F.mse_loss(output, y + 0.1 * torch.randn_like(y)),
    }

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(module(x), x if kind == "step of inputs" else y)
        loss.backward()
        optimizer.step()
        return loss

    extras: dict[str, Any] = {"data": (X, X)}
    if kind.startswith("step"):
        extras["step"] = step
    return module, losses.get(kind, F.mse_loss), optimizer, extras


def adapter(kind: str) -> Adapter:
    side = Adapter(lambda seed: build(kind))
    # The audit asks with zeros, with which every code is the same.
    side.load({name: np.zeros_like(value) for name, value in side.parameters().items()})
    return side


@pytest.mark.parametrize("kind", ["code", "step of inputs"])
def test_they_take_no_outputs_of_the_audits_choice(kind: str) -> None:
    side = adapter(kind)
    with pytest.raises(NotImplementedError, match="takes no other outputs"):
        side.loss(X[:4], X[4:8])
    assert not any(np.any(value) for value in side.parameters().values())  # As they were loaded.
    side.loss_and_gradients(X, X)


@pytest.mark.parametrize("kind", ["plain", "penalty", "drawn", "step"])
def test_others_are_asked(kind: str) -> None:
    loss = adapter(kind).loss(X[:4], X[4:8])
    assert loss == pytest.approx(
        np.mean((X[:4] - X[4:8]) ** 2), rel=0.5 if kind == "drawn" else 1e-5
    )
