"""Max pooling in three dimensions in float64, which TensorFlow has in float32 alone."""

# TensorFlow has no types of its own.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportOperatorIssue=false

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import product
from typing import Any

import tensorflow as tf

Tensor = Any


def with_float64(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """TensorFlow's ``MaxPool3D`` that also takes float64, with channels last.

    Args:
        original: ``gen_nn_ops.max_pool3d``, which takes every other type.
    """

    @wraps(original)
    def max_pool3d(
        input: Tensor,
        ksize: Sequence[int],
        strides: Sequence[int],
        padding: str,
        data_format: str = "NDHWC",
        name: str | None = None,
    ) -> Tensor:
        x = tf.convert_to_tensor(input)
        padding = padding.decode() if isinstance(padding, bytes) else padding
        if (x.dtype, data_format) != (tf.float64, "NDHWC") or padding not in ("SAME", "VALID"):
            return original(input, ksize, strides, padding, data_format=data_format, name=name)
        return pooled(x, ksize[1:4], strides[1:4], padding)

    return max_pool3d


def pooled(x: Tensor, size: Sequence[int], strides: Sequence[int], padding: str) -> Tensor:
    """The largest number of each window.

    Args:
        x: float64, (n, depth, height, width, channels).
        size: of the windows, along depth, height and width.
        strides: of the windows, likewise.
        padding: ``"SAME"`` or ``"VALID"``; padded places never win.
    """
    extents = tf.shape(x)[1:4]
    counts, before, after = [], [], []
    for axis, (length, stride) in enumerate(zip(size, strides, strict=True)):
        extent = extents[axis]
        count = -(-extent // stride) if padding == "SAME" else (extent - length) // stride + 1
        missing = tf.maximum((count - 1) * stride + length - extent, 0)
        counts.append(count)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    ends = [[0, 0], *([b, a] for b, a in zip(before, after, strict=True)), [0, 0]]
    x = tf.pad(x, ends, constant_values=x.dtype.min)
    places = [
        x[
            :,
            d : d + (counts[0] - 1) * strides[0] + 1 : strides[0],
            h : h + (counts[1] - 1) * strides[1] + 1 : strides[1],
            w : w + (counts[2] - 1) * strides[2] + 1 : strides[2],
        ]
        for d, h, w in product(*map(range, size))
    ]
    return largest(tf.stack(places))


@tf.custom_gradient
def largest(places: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The largest along the first axis; all that are as large get its whole gradient, as in
    TensorFlow's ``MaxPool3DGrad``."""
    largest_of_all = tf.reduce_max(places, 0)

    def gradient(upstream: Tensor) -> Tensor:
        return tf.where(tf.equal(places, largest_of_all), upstream, tf.zeros_like(upstream))

    return largest_of_all, gradient
