"""The learning rates of PyTorch sides, followed far into training without computing."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch_modules import line, side

from diptych.auditing.frameworks.protocol import FollowedPartly
from diptych.auditing.frameworks.torch import schedule
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.errors import InputError

Make = Callable[[torch.optim.Optimizer], Any]


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def scheduled(make: Make, every: int = 1, accumulate: int = 1, **extras: Any) -> Adapter:
    """A side with a scheduler, stepped every so many steps, that accumulates gradients."""

    def of(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        scheduler, count = make(optimizer), 0

        def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            value = loss(module(x), y) / accumulate
            value.backward()
            if count % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
            if scheduler is not None and count % every == 0:
                scheduler.step()
            return value.detach()

        return {"step": step} | extras

    return side(network, extras=of, lr=0.1)


def real_rates(make: Make, steps: int) -> list[tuple[int, list[float]]]:
    """The rates of a training that computes, at the steps where they change."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler, rates = make(optimizer), []
    for step in range(steps):
        present = [group["lr"] for group in optimizer.param_groups]
        if not rates or rates[-1][1] != present:
            rates.append((step, present))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.StepLR(o, 100, 0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 10_000),
        lambda o: lr_scheduler.ExponentialLR(o, 0.9999),
        lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step // 50)),
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 300),
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, 5000),
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.01, total_iters=500), lr_scheduler.StepLR(o, 1000)],
            [500],
        ),
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.LinearLR(o, 0.01, total_iters=50), lr_scheduler.ExponentialLR(o, 0.999)]
        ),
    ],
)
def test_rates_are_those_of_a_training(make: Make) -> None:
    assert scheduled(make).rates(3000) == real_rates(make, 3000)


def test_accumulation_and_epochs() -> None:
    """The rates are those with which the optimizer steps: every 16th step here."""
    model = scheduled(lambda o: lr_scheduler.StepLR(o, 1, 0.5), every=100, accumulate=16)
    # The first step at or after each epoch's start in which the optimizer steps.
    first = [next(s for s in range(100 * epoch, 1000) if s % 16 == 15) for epoch in range(5)]
    rates = [[0.1 * 0.5**epoch] for epoch in range(5)]
    assert model.rates(500) == list(zip(first, rates, strict=True))


def test_rates_set_by_hand() -> None:
    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        count = 0

        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            nonlocal count
            optimizer.param_groups[0]["lr"] = min(1.0, (count + 1) / 1000)  # Warm-up.
            count += 1
            optimizer.zero_grad()
            loss(module(x), y).backward()
            optimizer.step()

        return {"step": step}

    rates = side(network, extras=extras).rates(20_000)
    assert rates == [(step, [(step + 1) / 1000]) for step in range(1000)]


def test_rates_set_by_a_hook_of_the_optimizer() -> None:
    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        steps = 0

        def late(*arguments: Any) -> None:
            nonlocal steps
            steps += 1
            if steps == 700:
                optimizer.param_groups[0]["lr"] = 0.05

        optimizer.register_step_post_hook(late)
        return {}

    assert side(network, extras=extras).rates(2000) == [(0, [0.1]), (700, [0.05])]


def test_groups_have_rates_of_their_own() -> None:
    def build(seed: int) -> Any:
        module = nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.Linear(5, 10))
        groups = [
            {"params": module[1].parameters(), "lr": 0.01},
            {"params": module[2].parameters()},
        ]
        return module, nn.CrossEntropyLoss(), torch.optim.SGD(groups, lr=0.1)

    assert Adapter(build).rates(100_000) == [(0, [0.01, 0.1])]


def test_a_hundred_thousand_steps_are_followed() -> None:
    model = scheduled(lambda o: lr_scheduler.CosineAnnealingLR(o, 100_000))
    rates = model.rates(100_000)
    assert len(rates) == 100_000 and rates[0] == (0, [0.1])
    for step in (12_345, 99_999):
        expected = 0.05 * (1 + math.cos(math.pi * step / 100_000))
        np.testing.assert_allclose(rates[step][1], expected, rtol=1e-6, atol=1e-12)


def test_a_step_that_takes_long_is_followed_by_its_scheduler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedule, "BUDGET", 0.0)
    rates = scheduled(lambda o: lr_scheduler.StepLR(o, 1000, 0.1), 3, accumulate=2).rates(10_000)
    # Stepped at the end of every third step; the optimizer steps in every second one.
    assert [step for step, _ in rates] == [1, 3001, 6001, 9001]
    np.testing.assert_allclose(np.concatenate([r for _, r in rates]), [0.1, 0.01, 1e-3, 1e-4])


def test_what_cannot_be_followed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "BUDGET", 0.0)
    with pytest.raises(FollowedPartly, match="takes too long") as partly:
        scheduled(lambda o: None).rates(10_000)
    assert partly.value.steps == 100
    assert partly.value.changes == [(0, [0.1])]

    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            value = loss(module(x), y)
            torch.autograd.grad(value, list(module.parameters()))  # needs gradients
            optimizer.step()

        return {"step": step}

    with pytest.raises(NotImplementedError) as caught:
        side(network, extras=extras).rates(10)
    assert line(__file__, "# needs gradients") in str(caught.value)


def test_nothing_of_the_side_moves() -> None:
    model = scheduled(lambda o: lr_scheduler.StepLR(o, 1, 0.5))
    before = model.parameters()
    x, y = np.ones((4, 28, 28, 1), np.float32), np.arange(4)
    steps = model.steps([(x, y)] * 3)[1]
    model.rates(50)
    assert all((array == before[name]).all() for name, array in model.parameters().items())
    for array, other in zip(model.steps([(x, y)] * 3)[1], steps, strict=True):
        assert all((array[name] == other[name]).all() for name in other)


# How long a side trains, and what else it says.


def test_the_horizon() -> None:
    def source(model: Adapter) -> tuple[Any, Any]:
        horizon = model.horizon()
        return horizon["steps"], horizon["source"]

    none = lambda o: None  # noqa: E731
    assert source(scheduled(none)) == (None, "")
    assert source(scheduled(none, steps=5000)) == (5000, "`steps` in extras")
    cosine = lambda o: lr_scheduler.CosineAnnealingLR(o, 30)  # noqa: E731  # thirty
    said = f"CosineAnnealingLR's T_max of 30 ({line(__file__, '# thirty')})"
    assert source(scheduled(cosine, every=100)) == (3000, said)
    assert source(scheduled(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 500)))[0] == 500
    assert source(scheduled(lambda o: lr_scheduler.StepLR(o, 30))) == (None, "")
    warmed = lambda o: lr_scheduler.SequentialLR(  # noqa: E731
        o, [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.CosineAnnealingLR(o, 900)], [100]
    )
    assert source(scheduled(warmed))[0] == 1000
    assert side(network).horizon() == {"steps": None, "source": ""}
    for steps in (0, 1.5, "long", True):
        with pytest.raises(InputError, match="`steps` in extras is"):
            scheduled(none, steps=steps)


def test_a_schedule_that_ends_ends_the_rates() -> None:
    rates = scheduled(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 50)).rates(1000)
    assert rates[0][0] == 0 and 48 <= rates[-1][0] <= 50


def test_schedulers_that_rates_do_not_show_are_told() -> None:
    plateau = lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=3)  # noqa: E731

    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        scheduler = plateau(optimizer)

        def step(x: torch.Tensor, y: torch.Tensor) -> None:
            value = loss(module(x), y)
            value.backward()
            optimizer.step()
            scheduler.step(value)

        return {"step": step}

    model = side(network, extras=extras)
    assert model.rates(1000) == [(0, [0.1])]
    (words,) = model.settings().values()
    assert words.startswith("ReduceLROnPlateau(factor=0.5") and words.endswith("follows a metric")

    def idle(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        lr_scheduler.StepLR(optimizer, 30, 0.5)
        return {}

    said = "StepLR(step_size=30, gamma=0.5): nothing that is given steps it"
    assert side(network, extras=idle).settings() == {"schedule": said}
    assert scheduled(lambda o: lr_scheduler.StepLR(o, 30)).settings() == {}
    rare = scheduled(lambda o: lr_scheduler.StepLR(o, 30), every=1_000_000)
    assert rare.settings() == {
        "schedule": "StepLR(step_size=30, gamma=0.1): `step` in extras steps it in "
        "none of 2000 steps"
    }


def test_outputs_are_the_networks() -> None:
    torch.manual_seed(0)
    model = side(lambda: nn.Sequential(nn.Conv2d(1, 3, 28), nn.Dropout(0.5)))
    x = np.random.default_rng(0).normal(size=(4, 28, 28, 1)).astype(np.float32)
    outputs = model.outputs(x, True, 50)
    assert outputs.shape == (50, 4, 1, 1, 3)
    assert 0.3 < (outputs == 0).mean() < 0.7
    record = model.record(x, False)
    (once,) = model.outputs(x, False, 1)
    np.testing.assert_allclose(once, list(record.values())[-1], rtol=1e-5, atol=1e-6)


def test_batches_of_given_examples() -> None:
    def extras(*parts: Any) -> dict[str, Any]:
        def batches(x: torch.Tensor, y: torch.Tensor) -> Any:
            return [(x[i : i + 2] / 2, y[i : i + 2]) for i in range(0, len(x), 2)]

        return {"batches": batches}

    model = side(network, extras=extras)
    x, y = np.random.default_rng(0).random((5, 28, 28, 1), np.float32), np.arange(5)
    epochs = model.batches_of(x, y, 2)
    assert epochs is not None and [len(epoch) for epoch in epochs] == [3, 3]
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in epochs[1]]), x / 2)
    np.testing.assert_array_equal(np.concatenate([targets for _, targets in epochs[1]]), y)
    assert side(network).batches_of(x, y, 1) is None


class Decayed(torch.optim.SGD):
    """Halves its rate after every tenth step, in its own step."""

    taken = 0

    def step(self, closure: Any = None) -> Any:
        self.param_groups[0]["lr"] = 0.1 * 0.5 ** (self.taken // 10)
        self.taken += 1
        return super().step(closure)


def test_rates_that_an_optimizer_of_the_users_sets_in_its_step() -> None:
    original = torch.optim.SGD.step

    def build(seed: int) -> tuple[Any, Any, Any]:
        module = network()
        return module, nn.CrossEntropyLoss(), Decayed(module.parameters(), 0.1)

    rates = Adapter(build).rates(40)
    assert [step for step, _ in rates] == [0, 10, 20, 30]
    np.testing.assert_allclose([rate for _, (rate,) in rates], [0.1, 0.05, 0.025, 0.0125])
    assert torch.optim.SGD.step is original


def test_another_network_in_the_step_computes_once() -> None:
    """Such as the discriminator of a GAN, which the side's own network does not hold."""
    computed = []

    class Judge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(10, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            computed.append(len(x))
            return self.dense(x)

    def of(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        judge, scheduler = Judge(), lr_scheduler.StepLR(optimizer, 700)

        def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            value = judge(module(x)).mul_(2).mean()  # In place: nothing may pile up.
            assert value.isfinite()
            value.backward()
            optimizer.step()
            scheduler.step()
            return value.detach()

        return {"step": step}

    adapter = side(network, extras=of, lr=0.1)
    before = len(computed)
    rates = adapter.rates(1_500)
    assert len(computed) - before <= 2
    assert [step for step, _ in rates] == [0, 700, 1_400]
