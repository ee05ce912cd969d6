"""Weights that training uses and predictions do not."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch_modules import RNG, close, side

from diptych.auditing.beside import beside, matches_beside


class Adversarial(nn.Module):
    """A generator, with its discriminator beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = nn.Linear(4, 3), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.generator(x)


def adversarial() -> Any:
    x, y = RNG.normal(size=(8, 4)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)
    return side(Adversarial, nn.MSELoss(), extras=lambda *_: {"data": (x, y)})


def test_they_are_in_no_layer_and_lie_as_those_of_a_layer_do() -> None:
    model = adversarial()
    own = model.parameters()
    names = ["discriminator.weight", "discriminator.bias"]
    assert beside(model.graph(), own) == names
    assert own["discriminator.weight"].shape == (7, 2)
    kernel = RNG.normal(size=(7, 2)).astype(np.float32)
    model.load({"discriminator.weight": kernel})
    close(model.parameters()["discriminator.weight"], kernel)
    close(model._module.discriminator.weight.detach(), kernel.T)


def test_they_are_matched_by_their_shapes() -> None:
    a = {"d/kernel": np.zeros((7, 2)), "d/bias": np.zeros(2), "e/bias": np.zeros(2)}
    b = {"d.bias": np.zeros(2), "e.bias": np.zeros(2), "d.weight": np.zeros((7, 2))}
    names = {x: y for m in matches_beside([*a], [*b], a, b) for _, x, y in m.parameters()}
    assert names == {"d/kernel": "d.weight", "d/bias": "d.bias", "e/bias": "e.bias"}
    assert matches_beside([*a], ["d.bias", "d.weight"], a, b) == []
    assert matches_beside(["d/bias"], [*b], a, b) == []
