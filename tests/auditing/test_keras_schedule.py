"""How long a Keras side trains, and its learning rates on the way."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalOperand=false
# pyright: reportOptionalMemberAccess=false, reportIndexIssue=false, reportOperatorIssue=false

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras.optimizers import SGD, Adam, schedules
from keras_sides import numbers, on_backend, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.errors import InputError


def model(optimizer: Any = "sgd", **extras: Any) -> Adapter:
    return side(lambda: keras.Input((2,)), lambda: layers.Dense(1), optimizer=optimizer, **extras)


def at_each_step(changes: list[tuple[int, list[float]]], steps: int) -> np.ndarray:
    """The rate of each step, from the steps at which it changes."""
    rates = np.zeros(steps)
    for start, (rate,) in changes:
        rates[start:] = rate
    return rates


def cosine(step: np.ndarray) -> np.ndarray:
    """From 0.1 to 0.4 in 30 steps, then along a cosine to zero in 1,000."""
    done = np.clip((step - 30) / 1000, 0, 1)
    return np.where(step < 30, 0.1 + 0.3 * step / 30, 0.4 * 0.5 * (1 + np.cos(math.pi * done)))


class Own(schedules.LearningRateSchedule):
    """A schedule that can only be asked for one step at a time."""

    def __call__(self, step: Any) -> Any:
        reached = keras.ops.max(keras.ops.cast(step, keras.config.floatx()))
        return 0.5 / (1.0 + reached)


SCHEDULES: dict[str, tuple[Callable[[], Any], Callable[[np.ndarray], np.ndarray]]] = {
    "exponential": (
        lambda: schedules.ExponentialDecay(0.1, 100, 0.5, staircase=True),
        lambda step: 0.1 * 0.5 ** (step // 100),
    ),
    "cosine with warm-up": (
        lambda: schedules.CosineDecay(0.1, 1000, warmup_target=0.4, warmup_steps=30),
        cosine,
    ),
    "pieces": (
        lambda: schedules.PiecewiseConstantDecay([10, 50], [0.1, 0.03, 0.007]),
        lambda step: np.select([step <= 10, step <= 50], [0.1, 0.03], 0.007),
    ),
    "own": (Own, lambda step: 0.5 / (1 + step)),
    "constant": (lambda: 0.25, lambda step: np.full(len(step), 0.25)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_the_formula(name: str) -> None:
    schedule, formula = SCHEDULES[name]
    twin = model(lambda: SGD(schedule())).twin()
    rates = at_each_step(twin.rates(2000), 2000)
    np.testing.assert_allclose(rates, formula(np.arange(2000)), rtol=1e-12, atol=1e-15)


def test_rates_change_where_they_change_and_nothing_is_left_behind() -> None:
    adapter = model(lambda: Adam(schedules.ExponentialDecay(0.1, 100, 0.5, staircase=True)))
    before = adapter.parameters()
    assert [step for step, _ in adapter.rates(301)] == [0, 100, 200, 300]
    assert adapter.rates(100) == [(0, [pytest.approx(0.1)])]
    assert int(adapter.model.optimizer.iterations) == 0
    unchanged(adapter, before)


class Table(schedules.LearningRateSchedule):
    """Has a rate for 825 steps, and each is its own."""

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(np.linspace(1.0, 0.0, 825), step)


def test_rates_end_where_the_schedule_does() -> None:
    rates = model(lambda: SGD(Table())).rates(3000)
    assert len(rates) == 825
    assert rates[-1] == (824, [0.0])
    assert len(model(lambda: SGD(Table())).rates(825)) == 825


def test_a_step_that_only_accumulates_has_no_rate() -> None:
    adapter = model(
        lambda: SGD(schedules.ExponentialDecay(0.1, 1, 0.5), gradient_accumulation_steps=4)
    )
    assert [step for step, _ in adapter.rates(13)] == [3, 7, 11]
    assert adapter.rates(13)[0][1] == [pytest.approx(0.1 * 0.5**3)]
    assert adapter.rates(3) == []


def test_an_optimiser_for_each_part_is_a_group_of_its_own() -> None:
    def both() -> keras.optimizers.Optimizer:
        slow = SGD(schedules.ExponentialDecay(0.1, 2, 0.1, staircase=True))
        groups = keras.optimizers.OptimizerMap(default_optimizer=SGD(0.3))
        groups[".*bias"] = slow
        return keras.optimizers.MultiOptimizer(groups)

    rates = model(both).rates(4)
    assert [step for step, _ in rates] == [0, 2]
    assert sorted(rates[0][1]) == pytest.approx([0.1, 0.3])
    assert sorted(rates[1][1]) == pytest.approx([0.01, 0.3])


def halved(epoch: int, rate: float) -> float:
    return rate * 0.5 if epoch else rate


class EveryThird(keras.callbacks.Callback):
    """Counts steps, and every third takes a tenth from the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps % 3 == 0:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * 0.9


def test_callbacks_change_rates_each_epoch_and_each_step() -> None:
    by_epoch = keras.callbacks.LearningRateScheduler(halved)
    adapter = model(lambda: SGD(0.8), fit={"callbacks": [by_epoch], "steps_per_epoch": 5})
    expected = [(0, [0.8]), (5, [0.4]), (10, [0.2])]
    for _ in range(2):  # It begins anew each time.
        assert adapter.rates(12) == [(step, pytest.approx(rate)) for step, rate in expected]
    assumed = model(lambda: SGD(0.8), fit={"callbacks": [by_epoch], "epochs": 3})
    assert [step for step, _ in assumed.rates(5000)] == [0, 1875, 3750]
    each = model(lambda: SGD(1.0), fit={"callbacks": [EveryThird()]})
    for _ in range(2):
        rates = each.rates(7)
        assert rates == [(s, [pytest.approx(r)]) for s, r in ((0, 1), (3, 0.9), (6, 0.81))]
    assert float(each.model.optimizer.learning_rate) == 1.0


def test_how_long_a_side_trains_is_in_its_own_words() -> None:
    x, y = numbers(100, 2), numbers(100, 1)

    def horizon(optimizer: Any = "sgd", **extras: Any) -> tuple[int | None, str]:
        told = model(optimizer, **extras).horizon()
        assert told.keys() == {"steps", "source"}
        return told["steps"], told["source"]

    assert horizon() == (None, "")
    assert horizon(fit={"batch_size": 8}) == (None, "")
    assert horizon(steps=70, fit={"epochs": 3}) == (70, "extras['steps']")
    steps, source = horizon(fit={"epochs": 5})
    assert (steps, "60,000 examples assumed" in source) == (5 * 1875, True)
    assert horizon(fit={"epochs": 3, "batch_size": 8}, data=(x, y))[0] == 3 * 13
    assert horizon(fit={"epochs": 3, "validation_split": 0.2}, data=(x, y))[0] == 3 * 3
    assert horizon(fit={"epochs": 3, "initial_epoch": 1, "steps_per_epoch": 9})[0] == 18
    cosine = schedules.CosineDecay(0.1, 1000, warmup_target=0.4, warmup_steps=30)
    assert horizon(SGD(cosine)) == (1030, "the length of the schedule CosineDecay")
    assert horizon(SGD(schedules.PiecewiseConstantDecay([10, 50], [0.1, 0.2, 0.3])))[0] == 50
    assert horizon(SGD(schedules.ExponentialDecay(0.1, 1000, 0.5)))[0] is None
    with pytest.raises(InputError, match=r"extras\['steps'\] is 0: expected how many steps"):
        model(steps=0)


ON_EACH = """
import keras
from keras import layers
from keras.optimizers import SGD, schedules
from diptych.auditing.frameworks.keras.adapter import Adapter

def build(seed):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    warm = schedules.CosineDecay(0.1, 90_000, warmup_target=0.4, warmup_steps=3_000)
    model.compile(SGD(warm), "mse")
    return model

adapter, calls, call = Adapter(build), 0, schedules.CosineDecay.__call__

def counted(self, step):
    global calls
    calls += 1
    return call(self, step)

schedules.CosineDecay.__call__ = counted
rates = adapter.rates(100_000)
assert 0 < calls < 300, calls
by_step = dict(rates)
assert abs(by_step[0][0] - 0.1) < 1e-7 and abs(by_step[3_000][0] - 0.4) < 1e-6, rates[:2]

class Table(schedules.LearningRateSchedule):
    def __call__(self, step):
        return keras.ops.take(keras.ops.linspace(1.0, 0.0, 825), step)

adapter.model.optimizer.learning_rate = Table()
assert adapter.rates(3_000)[-1] == (824, [0.0]), adapter.rates(3_000)[-1]
assert 93_000 - 100 < rates[-1][0] <= 93_000 and rates[-1][1] == [0.0], rates[-1]
print("fine")
"""


@pytest.mark.parametrize(
    "backend", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.exhaustive)]
)
def test_a_hundred_thousand_rates_take_few_calls_of_the_schedule(backend: str) -> None:
    assert on_backend(backend, ON_EACH).endswith("fine")
