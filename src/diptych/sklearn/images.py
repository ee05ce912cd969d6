"""Samples as scikit-learn gives them, and as the images that workflows take."""

import math
from typing import Any

import numpy as np

from diptych.errors import InputError
from diptych.layers import AveragePool, Conv, MaxPool, Shape
from diptych.network import Network

LEVELS = 255
ROWS_A_CALL = 1000
"""Rows that are scaled at once; more only need more memory."""


def whole_shape(wanted: Any, columns: int) -> Shape:
    """The (height, width, channels) that ``image_shape`` means for so many columns."""
    try:
        sizes = [int(size) for size in wanted]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) not in (2, 3) or sizes.count(-1) > 1 or any(s < 1 and s != -1 for s in sizes):
        raise InputError(
            f"image_shape = {wanted!r}: expected (height, width) or (height, width, channels), one "
            "of which may be -1 for what is left"
        )
    height, width, channels = sizes if len(sizes) == 3 else (*sizes, 1)
    rest = columns // abs(height * width * channels)
    height, width, channels = (rest if size == -1 else size for size in (height, width, channels))
    return height, width, channels


def is_table(shape: Shape) -> bool:
    """True where samples of that shape are a table's rows: one pixel high, with one channel."""
    return shape[0] == shape[2] == 1


def value_range(rows: np.ndarray, table: bool) -> tuple[np.ndarray, np.ndarray]:
    """The values that become 0 and 255, float64: one for all, or for each column of a table.

    Args:
        rows: (n, columns), numbers.
        table: whether each column has its own.
    """
    if rows.dtype == np.uint8:
        ends = np.zeros(rows.shape[1]), np.full(rows.shape[1], LEVELS, float)
        return ends if table else (ends[0][0], ends[1][0])
    axis = 0 if table else None
    low, high = rows.min(axis=axis), rows.max(axis=axis)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def to_images(rows: np.ndarray, low: np.ndarray, high: np.ndarray, shape: Shape) -> np.ndarray:
    """Rows (n, columns) as uint8 images (n, \\*shape): low becomes 0, high 255, clipped outside."""
    images = np.empty(rows.shape, np.uint8)
    if rows.dtype == np.uint8 and np.all(low == 0) and np.all(high == LEVELS):
        images[:] = rows
    else:
        # Halves: the difference of two float64 can be more than a float64.
        span = high / 2 - low / 2
        span = np.where(span > 0, span, 1)
        for start in range(0, len(rows), ROWS_A_CALL):
            here = slice(start, start + ROWS_A_CALL)
            share = (np.clip(rows[here].astype(np.float64), low, high) / 2 - low / 2) / span
            images[here] = np.rint(share * LEVELS)
    return images.reshape(len(rows), *shape)


def rows_of(X: Any) -> tuple[Any, Shape | None]:
    """X with a row a sample, and the shape of its images, None where it had rows."""
    if getattr(X, "ndim", None) == 2:  # Data frames keep their names.
        return X, None
    array = np.asarray(X)
    if array.ndim not in (3, 4):
        return X, None  # For scikit-learn's own words, unless it is rows.
    height, width, channels = shape = (*array.shape[1:], 1)[:3]
    return array.reshape(len(array), height * width * channels), shape


def sample_shape(wanted: Any, network: Network, columns: int, given: Shape | None) -> Shape:
    """The shape of each sample (height, width, channels).

    Args:
        wanted: the parameter ``image_shape``.
        network: the network before it is adapted.
        columns: values per sample.
        given: the shape of the images of X, or None where X has rows.

    Raises:
        InputError: the shapes contradict each other, or nothing says how the columns lie.
    """
    if wanted is not None:
        shape = whole_shape(wanted, columns)
        if math.prod(shape) != columns or given not in (None, shape):
            holds = f"{by(given)} images" if given else f"{columns} columns"
            raise InputError(
                f"image_shape = {wanted!r}: {math.prod(shape)} values, but X has {holds}"
            )
        return shape
    if given:
        return given
    if columns == math.prod(network.input_shape):
        return network.input_shape
    if not any(isinstance(layer, Conv | MaxPool | AveragePool) for layer in network.layers):
        return 1, columns, 1
    side = math.isqrt(columns)
    such = f"({side}, {side})" if side**2 == columns else "(height, width)"
    raise InputError(
        f"X has {columns} columns, network {network.name} takes {by(network.input_shape)} "
        f"images: say how they lie by image_shape={such}, or give X as (n, height, width)"
    )


def by(shape: Shape) -> str:
    """The shape as in ``28×28×1``."""
    return "×".join(map(str, shape))
