"""Defaults for adapters where the user says nothing; and the names of activation curves.

All frameworks take the same, so that two sides that say nothing are fed alike.
"""

import math
from collections.abc import Sequence

import numpy as np

from diptych.errors import InputError

IMAGE = (28, 28, 1)
"""The shape of raw images for a side without its own data."""
EXAMPLES = 7
"""The number of examples for inspecting a network: unlikely as a number of channels, so that a
batch is not taken for an image."""
LABELS = 4_000
"""Different labels of a side's data that are noted."""
SELU = 1.6732632423543772, 1.0507009873554805
"""Alpha and scale (Klambauer et al., 2017)."""
DRAWING = (
    *("dropout", "spatial_dropout", "drop_path", "alpha_dropout"),
    *("gaussian_dropout", "gaussian_noise", "augmentation"),
)
"""The kinds of layers that draw random numbers in training and pass their input on in inference."""
Shape = Sequence[int]


def default_input(images: np.ndarray, shape: Shape, dtype: np.dtype | type) -> np.ndarray:
    """Images as numbers from 0 to 1, computed in float32.

    Args:
        images: uint8 (n, …).
        shape: of one input, with as many numbers as an image has.
        dtype: of the result; float64 has the numbers that float32 has.
    """
    scaled = (images * np.float32(1 / 255)).astype(np.float32)
    return scaled.reshape(len(images), *shape).astype(dtype)


def default_targets(
    labels: np.ndarray, targets: str, units: int, dtype: np.dtype | type
) -> np.ndarray | None:
    """Labels as a loss takes them; None where it takes no classes.

    Args:
        labels: (n,), whole numbers.
        targets: what the loss takes, as `Adapter.targets` says.
        units: how many outputs the network has.
        dtype: of one-hot targets.
    """
    if targets == "classes":
        return labels.astype(np.int64)
    if targets == "one_hot":
        return np.eye(units, dtype=dtype)[labels]
    return None


def may_be_drawn(y: np.ndarray, output_shape: Shape) -> bool:
    """True if targets of an unknown loss may be any numbers: there is one for each of the outputs,
    and they are neither whole nor probabilities. Others may be labels, indices, lengths or a
    distribution per example.

    Args:
        y: the side's own targets, (n, …).
        output_shape: of the network's output for one example.
    """
    fits = y[0].size == math.prod(output_shape)
    return fits and not np.array_equal(y, np.rint(y)) and not _are_distributions(y)


def _are_distributions(y: np.ndarray) -> bool:
    """True if numbers are probabilities that add up to 1 over the classes, which are the last axis,
    or the second as in PyTorch."""
    if y.ndim < 2 or not np.all(y >= 0):
        return False
    return any(np.allclose(y.sum(axis=axis, dtype=np.float64), 1, atol=1e-5) for axis in (1, -1))


def rows_of(examples: int, count: int) -> np.ndarray:
    """The indices of the examples of a side to use: the first, the last, and one from each of as
    many equal parts between, the same ones for two sides with equally many. Labels may repeat with
    a period, so that examples at equal distances would miss some."""
    count = min(count, examples)
    edges = np.arange(count + 1) * examples // max(1, count)
    rows = np.random.default_rng(4).integers(edges[:-1], edges[1:])
    rows[:1], rows[-1:] = 0, examples - 1
    return rows


def default_batch(
    images: np.ndarray,
    labels: np.ndarray,
    shape: Shape,
    targets: str,
    units: int,
    dtype: np.dtype | type,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets made from digits, for a side that defines no data.

    Args:
        images, labels: the digits.
        shape: of one of the side's inputs.
        targets: what its loss takes, as `Adapter.targets` says.
        units: of its last layer.
        dtype: of inputs and targets that are no classes.

    Raises:
        InputError: no image fits, or the loss takes what digits are not.
    """
    if images[0].size != np.prod(shape):
        raise InputError(
            f"the network takes {shape}, which does not hold the {images[0].size} numbers of "
            "an image: give `prepare` or `data` in extras"
        )
    y = default_targets(labels, targets, units, dtype)
    if y is None:
        raise InputError(
            f"the loss takes {targets}, which digits are not: give `prepare` or `data` in extras"
        )
    return default_input(images, shape, dtype), y


def told_of(x: np.ndarray, y: np.ndarray) -> dict[str, object]:
    """Statistics of a side's whole data, independent of their layout.

    Returns:
        ``count`` of the examples; ``mean``, ``deviation``, ``smallest`` and ``largest`` of the
        inputs; ``labels``, the whole numbers among the targets, up to `LABELS` of them.
    """
    numbers = x.astype(np.float64)
    whole = y.dtype.kind in "iu"
    return {
        "count": len(x),
        "mean": float(numbers.mean()),
        "deviation": float(numbers.std()),
        "smallest": float(numbers.min()),
        "largest": float(numbers.max()),
        "labels": [int(label) for label in np.unique(y)[:LABELS]] if whole else [],
    }


def coded(count: int, shape: Shape, dtype: np.dtype | type) -> np.ndarray:
    """Examples that stay distinguishable in batches: all values of example i are i; (count,
    *shape)."""
    numbers = np.arange(count).reshape(count, *(1 for _ in shape))
    return np.broadcast_to(numbers, (count, *shape)).astype(dtype)


def same_padding(spatial: Shape, window: Shape, strides: Shape, dilation: Shape) -> list[list[int]]:
    """The pixels before and after each axis with which TensorFlow and Keras pad as ``same``: so
    that the output has ``ceil(length / stride)``, the larger half behind."""
    pixels = []
    for length, size, stride, step in zip(spatial, window, strides, dilation, strict=True):
        extent, steps = (size - 1) * step + 1, -(-length // stride)
        total = max((steps - 1) * stride + extent - length, 0)
        pixels.append([total // 2, total - total // 2])
    return pixels


def as_written(value: float) -> float:
    """The number as it was written, from its float32 rounding: 0.001 for 0.0010000000474974513."""
    return float(str(np.float32(value)))


def curves(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, float | None]]:
    """The values of all activation functions that have a name.

    Args:
        x: float64, with some numbers below -1.
        y: what the function to be named gives for them.

    Returns:
        By name, the values at ``x``, and the slope under which the function comes closest to ``y``
        where it has one.
    """
    below, low = x < -1, np.minimum(x, 0)
    slope = float(np.median(y[below] / x[below]))
    alpha = float(np.median(y[below] / np.expm1(x[below])))
    sigmoid = 1 / (1 + np.exp(-x))
    normal = (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    tanh = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    log_softmax = x - np.max(x, -1, keepdims=True)
    log_softmax = log_softmax - np.log(np.sum(np.exp(log_softmax), -1, keepdims=True))
    return {
        "relu": (np.maximum(x, 0), None),
        "relu6": (np.clip(x, 0, 6), None),
        "silu": (x * sigmoid, None),
        "hard_swish": (x * np.clip(x / 6 + 0.5, 0, 1), None),
        "hard_sigmoid": (np.clip(x / 6 + 0.5, 0, 1), 1 / 6),
        "mish": (x * np.tanh(np.logaddexp(x, 0)), None),
        "softsign": (x / (1 + np.abs(x)), None),
        "log_sigmoid": (-np.logaddexp(-x, 0), None),
        "gelu": (x * normal, None),
        "gelu_tanh": (x / 2 * (1 + tanh), None),
        "sigmoid": (sigmoid, None),
        "tanh": (np.tanh(x), None),
        "softplus": (np.logaddexp(x, 0), None),
        "exponential": (np.exp(x), None),
        "softmax": (np.exp(log_softmax), None),
        "log_softmax": (log_softmax, None),
        "selu": (SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(low)), None),
        "leaky_relu": (np.where(x > 0, x, slope * x), slope),
        "elu": (np.where(x > 0, x, alpha * np.expm1(low)), alpha),
    }
