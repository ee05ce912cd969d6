"""Builds of a side in JAX: each with its own seeds, and in float64 for a twin."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.frameworks.jax import submission
from diptych.auditing.frameworks.jax.inputs import example
from diptych.auditing.frameworks.precision import within
from diptych.auditing.frameworks.users import users_code

SEEDS = 1_000_003
"""The distance of the seeds of two fresh builds."""


in_own_precision = within(lambda owner: jax.enable_x64(owner.dtype == np.float64))
"""Has JAX know float64 while a method of a twin runs, and nothing else of the process."""


def build_of(build: Callable[[int], Any], dtype: type, draw: int) -> submission.Submission:
    """A fresh build.

    Args:
        build: gives what the user's function returns.
        dtype: float32, or float64 for a twin: all floating-point arrays are then widened.
        draw: the seeds in the user's code are others for each.
    """
    with users_code("the function"), seeds(draw):
        side = submission.of(build(draw), example)
    if dtype == np.float64:
        side.params, side.state = jax.tree.map(widened, (side.params, side.state))
    return side


def widened(leaf: Any) -> Any:
    """A floating-point array in float64, anything else as it is."""
    floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(leaf, np.float64) if floating else leaf


@contextlib.contextmanager
def seeds(draw: int) -> Iterator[None]:
    """Has every seed in the user's code be another one for each draw.

    JAX' code states its seeds. So two builds have the same weights, and nothing could be told of
    their distribution.
    """
    with contextlib.ExitStack() as stack:
        for name in ("key", "PRNGKey"):
            original = getattr(jax.random, name)

            def other(seed: Any, *more: Any, original: Any = original, **named: Any) -> Any:
                moved = seed + SEEDS * draw if isinstance(seed, int) else seed
                return original(moved, *more, **named)

            stack.enter_context(patch.object(jax.random, name, other))
        yield
