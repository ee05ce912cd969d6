"""Learning rates that are told from steps of no known optimiser."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diptych.auditing import audit
from diptych.auditing.naming.rates import factors

RNG = np.random.default_rng(3)
GRADIENTS = RNG.normal(size=(12, 5))


def steps(rates: np.ndarray, momentum: float = 0.0, inside: bool = False) -> np.ndarray:
    """The steps of momentum with the rate outside, or inside as Keras has it."""
    velocity, made = np.zeros(5), []
    for rate, gradient in zip(rates, GRADIENTS, strict=True):
        velocity = momentum * velocity + gradient * (rate if inside else 1.0)
        made.append(-velocity * (1.0 if inside else rate))
    return np.array(made)


FALLING = 0.1 * 0.9 ** np.arange(12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_factors_are_those_of_the_rates(momentum: float) -> None:
    found = factors(steps(np.full(12, 0.1), momentum), steps(FALLING, momentum))
    assert found is not None
    np.testing.assert_allclose(found, FALLING / 0.1, rtol=1e-12)


def test_steps_that_are_no_multiples() -> None:
    a = steps(np.full(12, 0.1), 0.9, inside=True)
    assert factors(a, steps(FALLING, 0.9, inside=True)) is None
    assert factors(a, -a) is None and factors(a, 0 * a) is None
    still = factors(0 * a, 0 * a)
    assert still is not None and np.isnan(still).all()


def stepping(rate_of: Any) -> Any:
    """A side whose own step divides each gradient by its fourth root, with a rate of its own."""

    def build() -> Any:
        module, count = nn.Linear(6, 4), 0
        loss = nn.CrossEntropyLoss()

        def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            nonlocal count
            module.zero_grad()
            value = loss(module(x), y)
            value.backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    gradient = parameter.grad
                    assert gradient is not None
                    parameter -= rate_of(count) * gradient / (gradient.abs() + 1e-12) ** 0.25
            count += 1
            return value

        generator = torch.Generator().manual_seed(5)
        data = torch.randn(32, 6, generator=generator), torch.arange(32) % 4
        optimiser = torch.optim.SGD(module.parameters(), 0.1)
        return module, loss, optimiser, {"data": data, "step": step}

    return build


@pytest.mark.parametrize(
    ("rate_of", "code"),
    [
        (lambda count: 0.1 * 0.999**count, "schedule"),
        (lambda count: 0.1 if count < 50 else 0.05, "schedule"),
        (lambda count: 0.2, "learning-rate"),
    ],
)
def test_a_rate_of_an_unknown_optimiser(rate_of: Any, code: str) -> None:
    result = audit(stepping(lambda count: 0.1), stepping(rate_of), only=["update", "trajectory"])
    assert [finding.code for finding in result.findings] == [code]
