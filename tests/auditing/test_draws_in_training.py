"""Random numbers in training: their gradients, and what is drawn and predicted after some steps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.auditing import audit
from diptych.auditing.certificate import TWINS

X = torch.from_numpy(np.random.default_rng(5).normal(size=(32, 6)).astype(np.float32))
Y = torch.arange(32) % 4


class Network(nn.Module):
    """Two layers; subclasses change what is between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 4)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return self.second(self.between(self.first(x).relu()))

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return F.dropout(h, 0.3, self.training)


class Detached(Network):
    """Passes gradients on as if nothing was dropped."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h + (super().between(h) - h).detach()


class ByHand(Network):
    """Drops with its own mask."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h * (torch.rand_like(h) >= 0.3) / 0.7 if self.training else h


class Centred(Network):
    """Takes the mean over the batch away, so that the last bias has no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = super().forward(x)
        return z - z.mean(0)


class CentredByHand(Network):
    """The same but for rounding, which a batch of one leaves of everything."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = super().forward(x)
        return z - z.mean(0) * (1 + 2**-51)


class More(Network):
    """Drops more."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return F.dropout(h, 0.45, self.training)


class Faint(Network):
    """Adds noise that is hardly more than float32's rounding."""

    size = 1e-6

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h * (1 + self.size * torch.randn_like(h)) if self.training else h


class LessFaint(Faint):
    size = 2e-6


class Growing(Network):
    """Drops more after 20 calls."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return F.dropout(h, 0.3 if self.calls <= 20 else 0.6, self.training)


class Late(Network):
    """Begins to drop after 20 calls."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return super().between(h) if self.calls > 20 else h


class Never(Network):
    """Drops nothing."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h


class Mask(Network):
    """Draws a new mask in every so many calls."""

    every = 1

    def between(self, h: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return h
        if self.calls % self.every == 1 % self.every:
            self.mask = (torch.rand(16) >= 0.3) / 0.7
        return h * self.mask


class KeptMask(Mask):
    every = 50


class PredictsLater(Never):
    """Predicts half of it after 20 training calls."""

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h if self.training or self.calls <= 20 else h / 2


class PredictsWithItsOwn(Never):
    """Predicts with another layer's function than it trains with, so that layer is not called."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x).relu()
        return self.second(h) if self.training else F.linear(h, self.second.weight * 1)


class Scaled(Never):
    """Has a trained number without axes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("count", torch.tensor(0.0))

    def between(self, h: torch.Tensor) -> torch.Tensor:
        return h * self.scale


class ScaledTwice(Scaled):
    """Has its gradient doubled."""

    def __init__(self) -> None:
        super().__init__()
        self.scale.register_hook(lambda gradient: 2 * gradient)


def of(network: type[Network]) -> Any:
    def build() -> Any:
        module = network()
        optimiser = torch.optim.SGD(module.parameters(), 0.05)
        return module, nn.CrossEntropyLoss(), optimiser, {"data": (X, Y)}

    return build


@pytest.mark.parametrize(
    ("a", "b", "stage", "code"),
    [
        (Network, Detached, "gradients", "randomness"),
        (Network, Growing, "trajectory", "randomness"),
        (Never, Late, "trajectory", "randomness"),
        (Mask, KeptMask, "trajectory", "randomness"),
        (Never, PredictsLater, "trajectory", "inference"),
    ],
)
def test_what_no_single_step_without_dropout_shows(
    a: type[Network], b: type[Network], stage: str, code: str
) -> None:
    result = audit(of(a), of(b), only=[stage])
    assert [finding.code for finding in result.findings] == [code]


def test_two_ways_to_drop_are_the_same() -> None:
    result = audit(of(Network), of(ByHand), only=["gradients", "trajectory"])
    assert not result.findings
    assert all(stage.ok for stage in result.stages)


def test_a_gradient_that_is_zero_but_for_rounding_is_not_compared() -> None:
    result = audit(of(Centred), of(CentredByHand), only=["gradients"])
    assert not result.findings
    assert "drawn gradients of second.bias: they are zero up to rounding" in result.conclusion


@pytest.mark.parametrize(
    ("a", "b", "differs", "first"),
    [
        (Network, ByHand, False, ["in float32"]),
        (Network, More, True, ["in float32"]),
        (Faint, Faint, False, None),
        (Faint, LessFaint, True, None),
    ],
)
def test_draws_far_above_rounding_are_screened_in_float32(
    a: type[Network], b: type[Network], differs: bool, first: list[str] | None
) -> None:
    (stage,) = audit(of(a), of(b), only=["randomness"]).stages
    assert stage.ok is not differs
    assert stage.coverage.precision == TWINS
    assert stage.coverage.extents.get("first draws") == first


def test_the_last_line_says_that_draws_were_compared_again() -> None:
    result = audit(of(Growing), of(Growing), only=["randomness", "trajectory"])
    assert "before the first step and after step" in result.conclusion


def test_a_layer_that_only_trains_is_no_fault() -> None:
    result = audit(of(PredictsWithItsOwn), of(PredictsWithItsOwn), only=["forward"])
    (forward,) = result.stages
    assert not forward.fault and not result.findings


@pytest.mark.parametrize(("b", "differs"), [(Scaled, False), (ScaledTwice, True)])
def test_a_trained_number_without_axes(b: type[Network], differs: bool) -> None:
    result = audit(of(Scaled), of(b), only=["update", "trajectory"])
    assert bool(result.findings) is differs
    assert not any(stage.fault for stage in result.stages)
    assert all(stage.coverage.steps for stage in result.stages)
