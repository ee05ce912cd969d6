"""Arrays between TensorFlow's layouts of parameters and the graph's."""

from collections.abc import Sequence

import numpy as np

TRANSPOSED, DEPTHWISE = "transposed", "depthwise"


def to_graph(value: np.ndarray, layout: str | None) -> np.ndarray:
    """A variable's value, or its gradient, in the graph's layout."""
    if layout == TRANSPOSED:
        return value.T.copy()
    if layout == DEPTHWISE:
        return value.reshape(*value.shape[:2], 1, -1)
    return value


def from_graph(value: np.ndarray, layout: str | None, shape: Sequence[int]) -> np.ndarray:
    """The array for a variable of that shape, from the graph's layout."""
    return (value.T if layout == TRANSPOSED else value).reshape(shape)
