"""Learning rates over a whole training, which is not run: counters are moved, schedules read."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

Rates = list[tuple[int, list[float]]]
CHECKED = 64
"""Steps at which rates that were had all at once are held against those had one by one."""


def optimisers(optimiser: Any) -> list[Any]:
    """The optimisers that have a learning rate: one, or those of a ``MultiOptimizer``."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    return list(getattr(inner, "optimizers", [inner]))


def changes(rates: np.ndarray) -> Rates:
    """Step 0 and each step at which a rate differs from the step before.

    Args:
        rates: (steps, optimisers).
    """
    differs = np.any(rates[1:] != rates[:-1], axis=1) if len(rates) else np.zeros(0, bool)
    steps = [0, *(np.flatnonzero(differs) + 1)] if len(rates) else []
    return [(int(step), [float(rate) for rate in rates[step]]) for step in steps]


def rates_between(optimiser: Any, start: int, stop: int) -> np.ndarray:
    """The learning rates at steps from ``start`` to below ``stop``; (stop - start,)."""
    rate = optimiser._learning_rate
    if isinstance(rate, LearningRateSchedule):
        return scheduled(rate, np.arange(start, stop), optimiser.iterations.dtype)
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
    """A schedule's rates at the given steps, (steps,).

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
