"""Learning rates over a whole training, which is not run: counters are moved, schedules read."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from diptych.auditing.frameworks.keras.optimisers import optimisers

Rates = list[tuple[int, list[float]]]
CHECKED = 64
"""Steps at which rates computed together are compared with rates computed one by one."""


def changes(rates: np.ndarray, every: int) -> Rates:
    """The first step that moves parameters, and each later one at which a rate has changed.

    Args:
        rates: (steps, optimisers).
        every: how many steps are taken before one moves parameters (accumulation), from 1.
    """
    moving = rates[every - 1 :: every]
    if not len(moving):
        return []
    differs = np.flatnonzero(np.any(moving[1:] != moving[:-1], axis=1)) + 1
    return [
        (int(number + 1) * every - 1, [float(rate) for rate in moving[number]])
        for number in [0, *differs]
    ]


def accumulated(optimiser: Any) -> int:
    """The number of gradients that are accumulated before a step: 1 without accumulation, or if the
    optimisers of a ``MultiOptimizer`` do not agree."""
    counts = {inner.gradient_accumulation_steps or 1 for inner in optimisers(optimiser)}
    return counts.pop() if len(counts) == 1 else 1


def rates_between(optimiser: Any, start: int, stop: int) -> np.ndarray:
    """The learning rates at steps from ``start`` to below ``stop``; (stop - start,), or fewer where
    a schedule refuses further steps or has no number for them."""
    rate = optimiser._learning_rate
    if isinstance(rate, LearningRateSchedule):
        rates = scheduled(rate, np.arange(start, stop), optimiser.iterations.dtype)
        return rates[: np.argmin(np.append(np.isfinite(rates), False))]
    if isinstance(rate, keras.Variable):
        return np.full(stop - start, as_number(rate))
    values = np.empty(stop - start)
    for step in range(start, stop):  # A function without arguments may look at the counter.
        optimiser._iterations.assign(step)
        values[step - start] = as_number(optimiser.learning_rate)
    return values


def as_number(rate: Any) -> float:
    return float(keras.ops.convert_to_numpy(rate))


def scheduled(schedule: Callable[[Any], Any], steps: np.ndarray, dtype: Any) -> np.ndarray:
    """A schedule's rates at the given steps, (steps,), or fewer where it refuses further ones.

    They are had all at once where the schedule can be called with all steps and then says the same
    as for single ones; else in the backend's loop.
    """
    dtype = keras.backend.standardize_dtype(dtype)

    def at(step: int) -> Any:
        return keras.ops.convert_to_tensor(schedule(keras.ops.convert_to_tensor(step, dtype)))

    if keras.config.backend() == "jax":
        import jax

        whole = jax.jit(jax.vmap(schedule))(keras.ops.convert_to_tensor(steps, dtype))
        return np.broadcast_to(np.array(whole, np.float64), steps.shape)
    steps = accepted(at, steps)
    if not len(steps):
        return np.zeros(0)
    single = np.unique(np.linspace(0, len(steps) - 1, min(CHECKED, len(steps))).astype(int))
    with suppress(Exception), choosing_by_element():
        whole = schedule(keras.ops.convert_to_tensor(steps, dtype))
        whole = np.array(keras.ops.convert_to_numpy(whole), np.float64)
        if whole.shape == steps.shape:
            expected = [as_number(at(int(steps[place]))) for place in single]
            if np.allclose(whole[single], expected, rtol=1e-6, atol=0):
                return whole
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        spec = tf.as_dtype(at(int(steps[0])).dtype)

        @tf.function(autograph=False)
        def loop(numbers: Any) -> Any:
            return tf.map_fn(schedule, numbers, fn_output_signature=spec)

        return np.array(loop(tf.constant(steps, dtype)), np.float64)
    return np.array([as_number(at(int(step))) for step in steps])


def accepted(at: Callable[[int], Any], steps: np.ndarray) -> np.ndarray:
    """The steps before the first that a schedule refuses, such as the end of its table."""

    def refused(step: int) -> bool:
        try:
            at(step)
        except Exception:  # Each backend has its own for an index that is out of range.
            return True
        return False

    if not len(steps) or not refused(int(steps[-1])):
        return steps
    return steps[: bisect.bisect_left(range(len(steps)), True, key=lambda i: refused(steps[i]))]


@contextmanager
def choosing_by_element() -> Iterator[None]:
    """``keras.ops.cond`` chooses for each element, where it is given many conditions at once."""
    from keras.src import ops  # Where Keras' own schedules find it.

    original = ops.cond

    def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
        if len(keras.ops.shape(pred)):
            return keras.ops.where(pred, true_fn(), false_fn())
        return original(pred, true_fn, false_fn)

    ops.cond = keras.ops.cond = cond
    try:
        yield
    finally:
        ops.cond = keras.ops.cond = original
