"""Monte Carlo arithmetic: the effect of rounding on the results of a whole network.

In a noisy run, the output of each node and each gradient in the backward pass get a random error of
the size that rounding in float32 explains. The distance of such runs from the exact one is the
bound for a side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from autograd.extend import defvjp, primitive
from autograd.tracer import getval

from diptych.auditing.kinds.kind import Array
from diptych.auditing.kinds.rounding import LAMBDA, UNIT

RUNS = 4
"""The number of noisy runs for a bound."""


@primitive
def _moved(
    y: np.ndarray, errors: np.ndarray, reverse: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Adds errors to the values, and `reverse` to their gradient in the backward pass."""
    return y + errors


defvjp(_moved, lambda moved, y, errors, reverse: reverse, argnums=(0,))


@dataclass(frozen=True)
class Sizes:
    """The size of the rounding errors of a node's outputs, in units of the unit roundoff."""

    own: np.ndarray
    """The independent errors; broadcasts to the output."""
    shared: tuple[np.ndarray, ...] = ()
    """The errors that all values of a channel share."""


class Noise:
    """The rounding errors of one noisy run."""

    def __init__(self, run: int, sizes: Mapping[str, Sizes]) -> None:
        """Begins a run.

        Args:
            run: its number; runs of other numbers have other errors.
            sizes: of the errors, by node name.
        """
        self.sizes = sizes
        self.random = np.random.default_rng(run)
        self.table = self.random.standard_normal(2**16, np.float32)

    def like(self, y: np.ndarray) -> np.ndarray:
        """Normal random numbers, float32: one for each distinct float32 value in each channel.

        Equal values stay equal, as in float32: in a blank corner of an image, a pool sees four
        equal numbers.
        """
        bits = y.astype(np.float32).view(np.uint32)
        bits ^= np.uint32(self.random.integers(2**32))  # Each operation has its own numbers.
        bits += np.arange(y.shape[-1], dtype=np.uint32) * np.uint32(0x45EBCA6B)
        bits *= np.uint32(0x9E3779B1)
        bits >>= np.uint32(16)
        return self.table[bits]

    def __call__(self, name: str, y: Array) -> Array:
        """The output y (n, …, channels) of the node of this name, with errors."""
        exact, sizes = getval(y), self.sizes[name]
        errors = self.like(exact) * (UNIT / LAMBDA * sizes.own)
        for common in sizes.shared:
            errors += self.random.standard_normal(exact.shape[-1]) * UNIT * common
        seed = int(self.random.integers(2**63))

        def reverse(gradient: np.ndarray) -> np.ndarray:
            random = np.random.default_rng(seed)
            level = np.sqrt(np.mean(np.square(gradient), axis=-1, keepdims=True))
            level *= UNIT * np.sqrt(gradient.shape[-1] or 1)
            # A parameter's gradient is a sum over all positions, rounded as it is added up.
            terms = UNIT * np.sqrt(float(np.prod(gradient.shape[:-1])))
            size = np.abs(gradient)
            moved = UNIT * LAMBDA * size
            moved += level
            moved *= random.standard_normal(gradient.shape, np.float32)
            size *= random.standard_normal(gradient.shape[-1]) * terms
            moved += size
            moved += gradient
            return moved

        return _moved(y, errors, reverse)


def deviation(exact: np.ndarray, noisy: list[np.ndarray]) -> float:
    """The distance from the exact array that rounding explains, as its largest number."""
    return LAMBDA * max(
        (float(np.max(np.abs(other - exact), initial=0.0)) for other in noisy), default=0.0
    )
