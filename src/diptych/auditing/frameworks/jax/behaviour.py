"""Recognition of a function of one array by its values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.auditing.frameworks.defaults import as_written, curves
from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft

Function = Callable[[Any], Any]
CLOSE = 2e-6
"""Of the largest number: how far rounding in float32 may take an activation."""


def numbers(shape: tuple[int, ...], dtype: Any, low: float, high: float) -> np.ndarray:
    """Numbers in a range, in a random order."""
    count = int(np.prod(shape))
    values = np.random.default_rng(0).permutation(np.linspace(low, high, count))
    return values.reshape(shape).astype(dtype)


def activation(
    function: Function, shape: tuple[int, ...], dtype: Any
) -> tuple[str, float | None] | None:
    """The name of the activation that a function is, and its slope."""
    if np.dtype(dtype).kind != "f" or len(shape) < 2 or int(np.prod(shape)) < 8:
        return None
    x = numbers(shape, dtype, -4, 8)
    y = np.asarray(function(x), np.float64)
    wide = x.astype(np.float64)
    size = float(np.abs(y).max(initial=0.0))
    errors = {}
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for name, (expected, slope) in curves(wide, y).items():
            errors[name] = float(np.abs(y - expected).max()), slope
    name = min(errors, key=lambda name: np.nan_to_num(errors[name][0], nan=np.inf))
    error, slope = errors[name]
    if not error <= CLOSE * max(1.0, size):
        return None
    return name, None if slope is None else as_written(round(slope, 7))


def line(function: Function, shape: tuple[int, ...], dtype: Any) -> NodeDraft | None:
    """The rescaling that a function is, the same for all numbers."""
    if np.dtype(dtype).kind != "f":
        return None
    x = numbers(shape, dtype, -2, 2)
    y = np.asarray(function(x), np.float64)
    ends = np.argmin(x), np.argmax(x)
    (x0, x1), (y0, y1) = (array.ravel()[list(ends)].astype(np.float64) for array in (x, y))
    scale = (y1 - y0) / (x1 - x0)
    offset = y0 - scale * x0
    if not np.abs(scale * x + offset - y).max() <= CLOSE * max(1.0, float(np.abs(y).max())):
        return None
    scale, offset = as_written(scale), as_written(offset if abs(offset) > CLOSE else 0.0)
    if scale == 1 and offset == 0:
        return NodeDraft("nothing")
    return NodeDraft("rescale", {"scale": scale, "offset": offset})
