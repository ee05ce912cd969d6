"""Sequences of arithmetic, recognised by their values."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.trace import Trace, as_type

Operation = Any
Tensor = Any


FARTHEST = 1e6
"""The largest number that an input is tried with."""


@dataclass
class Stretch:
    """A stretch of arithmetic with one input and one output of the same shape."""

    trace: Trace
    input: Tensor
    output: Tensor
    constants: list[float]
    """The constants in it."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Its value for x, float64."""
        [y] = self.trace.run({self.input.name: x}, [self.output.name])
        return y.numpy().astype(np.float64)

    def numbers(self, low: float, high: float) -> np.ndarray:
        """Numbers for its input, as it will see them: rounded to its precision; always the same."""
        chance = np.random.default_rng(0)
        values = chance.uniform(low, high, self.input.shape)
        if self.input.dtype.is_integer:
            values = chance.integers(0, 256, self.input.shape)
        return self.rounded(values)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Numbers as its input will see them, float64."""
        return as_type(values, self.input.dtype).numpy().astype(np.float64)

    @property
    def reach(self) -> float:
        """The largest number that is written in it, beyond which it may do something else."""
        sizes = [abs(constant) for constant in self.constants]
        return max((size for size in sizes if size <= FARTHEST), default=0.0)

    @property
    def tolerance(self) -> float:
        """The allowed relative error of its values."""
        small = {tf.bfloat16, tf.float16} & {self.input.dtype, self.output.dtype}
        return 2e-2 if small else 1e-5

    def written(self, value: float) -> float:
        """The number written in it that a measured one must be, or else the measured one."""
        sides = [s for c in self.constants for s in (c, -c, 1 - c, *([1 / c] if c else []))]
        near = [s for s in sides if abs(s - value) <= 5 * self.tolerance * abs(value)]
        return min(near, key=lambda s: abs(s - value)) if near else value


def scalar_constant(operation: Operation) -> float | None:
    """The value of a constant that is a single number, else None."""
    if operation.type != "Const" or operation.outputs[0].shape.rank != 0:
        return None
    dtype = operation.outputs[0].dtype
    known = dtype.is_floating or dtype.is_integer
    return float(tf.get_static_value(operation.outputs[0])) if known else None


def close(stretch: Stretch, y: np.ndarray, expected: np.ndarray) -> bool:
    """True if numbers are the expected ones but for rounding."""
    scale = np.max(np.abs(expected), initial=0.0) or 1.0
    return bool(np.all(np.abs(y - expected) <= stretch.tolerance * scale))
