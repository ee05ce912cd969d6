"""Other values in variables, to see by what comes out which variable is which."""

# TensorFlow has no types of its own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.trace import as_type
from diptych.auditing.graph import Arrays

Variables = dict[str, tf.Variable]


@contextmanager
def restored(variables: Variables) -> Iterator[None]:
    """Puts the values back that variables had, whatever is done to them."""
    before = {name: variable.numpy() for name, variable in variables.items()}
    try:
        yield
    finally:
        for name, variable in variables.items():
            variable.assign(before[name])


def varied(variables: Variables) -> Arrays:
    """Puts other values into variables, none of them zero or one, and returns them."""
    chance: Any = np.random.default_rng(1)
    values = {name: chance.uniform(0.5, 1.5, v.shape) for name, v in variables.items()}
    for name, value in values.items():
        variables[name].assign(as_type(value, variables[name].dtype))
    return values


def fill(variable: tf.Variable, value: float) -> None:
    """Puts one number into a variable everywhere."""
    variable.assign(tf.fill(variable.shape, tf.cast(value, variable.dtype)))
