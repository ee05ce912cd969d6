"""A step that counts in Python is told from one that does not."""

# TensorFlow has no types of its own.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false, reportOperatorIssue=false

import itertools
import random
import types
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow import twin as twin_module
from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.frameworks.tensorflow.python_state import fingerprint
from diptych.auditing.frameworks.tensorflow.widening import Widened

COUNTS = {"steps": 0}
count = 0


class Side:
    """A side whose step does something more."""

    calls = 0

    def __init__(self, more: Callable[["Side"], Any] = lambda side: None) -> None:
        self.more, self.number, self.seen = more, 0, deque(maxlen=3)
        self.ticks = itertools.count()
        self.random, self.rng = random.Random(0), np.random.default_rng(0)
        self.numbers, self.names = np.zeros(3), {"a"}
        self.w = tf.Variable([[0.5], [0.25]])
        self.steps = tf.Variable(0)
        self.variables = [self.w]
        self.data = np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)
        self.net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def loss(self, x: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.square(tf.cast(y, x.dtype) - x @ self.w))

    def step(self, x: Any, y: Any) -> Any:
        self.more(self)
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        self.steps.assign_add(1)
        self.w.assign_sub(0.1 * tape.gradient(loss, self.w))
        return loss


def by_global(side: Side) -> None:
    global count
    count += 1


def by_closure() -> Callable[[Side], None]:
    number = 0

    def more(side: Side) -> None:
        nonlocal number
        number += 1

    return more


COUNTING: dict[str, Callable[[Side], Any]] = {
    "an attribute": lambda side: setattr(side, "number", side.number + 1),
    "an attribute of the class": lambda side: setattr(Side, "calls", Side.calls + 1),
    "a global": by_global,
    "a dictionary of the module": lambda side: COUNTS.update(steps=COUNTS["steps"] + 1),
    "a closure": by_closure(),
    "a queue": lambda side: side.seen.append(len(side.seen) + side.number),
    "an array": lambda side: side.numbers.__iadd__(1),
    "a set": lambda side: side.names.add(str(len(side.names))),
    "a set of as many": lambda side: setattr(
        side, "latest", {max(getattr(side, "latest", {0})) + 1}
    ),
    "a range": lambda side: setattr(side, "span", range(len(getattr(side, "span", "")) + 1)),
    "a decimal": lambda side: setattr(side, "exact", getattr(side, "exact", Decimal(0)) + 1),
    "random numbers": lambda side: random.random(),
    "random numbers of NumPy": lambda side: np.random.rand(),  # noqa: NPY002
    "random numbers of its own": lambda side: side.random.random(),
    "a generator of its own": lambda side: side.rng.normal(),
    "a layer's attribute": lambda side: setattr(side.net, "turn", getattr(side.net, "turn", 0) + 1),
    "a partial's list": partial(lambda kept, side: kept.append(1), []),
}
STILL: dict[str, Callable[[Side], Any]] = {
    "nothing": lambda side: None,
    "a variable": lambda side: side.steps.assign_add(1),
    "the same attribute": lambda side: setattr(side, "number", 7),
    "a network's outputs": lambda side: side.net(tf.ones((1, 2))),
}


@pytest.fixture(autouse=True)
def without_iterators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides without the iterator, which alone would settle it."""
    build = Side.__init__

    def init(self: Side, *args: Any) -> None:
        build(self, *args)
        del self.ticks

    monkeypatch.setattr(Side, "__init__", init)


def after_steps(side: Any, steps: int) -> list[str | None]:
    """The state after each traced step."""
    states = []
    for _ in range(steps):
        tf.function(side.step).get_concrete_function(tf.ones((3, 2)), tf.ones((3, 1)))
        states.append(fingerprint(side))
    return states


@pytest.mark.parametrize("way", COUNTING)
def test_what_counts_leaves_another_state(way: str) -> None:
    first, second, third = after_steps(Side(COUNTING[way]), 3)
    assert first and first != second
    if way not in ("a queue",):
        assert second != third


@pytest.mark.parametrize("way", STILL)
def test_what_does_not_count_leaves_the_same_state(way: str) -> None:
    first, *others = after_steps(Side(STILL[way]), 4)
    assert others[0] and others == [others[0]] * 3
    assert first


def test_what_goes_on_by_itself_cannot_be_told() -> None:
    side = Side()
    side.ticks = itertools.count()
    assert after_steps(side, 1) == [None]
    side.ticks = (number for number in range(3))  # pyright: ignore
    assert fingerprint(side) is None


def test_a_module_of_the_users_is_part_of_it() -> None:
    module = types.ModuleType("counters")
    module.__file__ = str(Path(__file__).with_name("counters.py"))  # In no library.
    vars(module)["steps"] = 0
    side = Side()
    vars(side)["counters"] = module
    before = fingerprint(side)
    vars(module)["steps"] = 1
    assert before and fingerprint(side) != before


def twin(more: Callable[[Side], Any]) -> Any:
    return Adapter(lambda seed: Side(more)).twin()


def thresholds(side: Side) -> None:
    side.number += 1
    if side.number > 6:
        side.w.assign(tf.zeros_like(side.w))


def test_a_twin_takes_each_step_of_a_side_that_counts() -> None:
    batch = np.ones((4, 2)), np.ones((4, 1))
    _, after = twin(thresholds).steps([batch] * 9)
    moves = [bool(np.any(weights["variable_0"])) for weights in after]
    assert moves[:6] == [True] * 6
    expected, _ = twin(lambda side: None).steps([batch] * 9)
    again, _ = Adapter(lambda seed: Side()).steps(
        [(x.astype(np.float32), y.astype(np.float32)) for x, y in [batch] * 9]
    )
    np.testing.assert_allclose(expected, again, rtol=1e-4)
    assert not np.allclose(after[8]["variable_0"], after[5]["variable_0"])


class Compiled(Side):
    """A side whose step is a ``tf.function`` and takes a tensor from outside."""

    @tf.function
    def step(self, x: Any, y: Any) -> Any:
        return super().step(x, WEIGHT * y)


WEIGHT = tf.constant(2.0)


def test_a_compiled_step_that_does_not_count_is_traced_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TensorFlow numbers what a function captures, and each trace has other numbers."""
    traced = []

    class Counting(Widened):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            traced.append(self.key)

    double = Adapter(lambda seed: Compiled()).twin()
    monkeypatch.setattr(twin_module, "Widened", Counting)
    losses, _ = double.steps([(np.ones((4, 2)), np.ones((4, 1)))] * 6)
    assert len(traced) == 2
    w, expected = np.array([0.5, 0.25]), []
    for _ in range(6):
        expected.append((2 - w.sum()) ** 2)
        w = w + 0.1 * 2 * (2 - w.sum())
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
