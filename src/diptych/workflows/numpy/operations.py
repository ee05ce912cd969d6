"""The operations of a network in NumPy, in float64, each with its own reverse.

An operation takes its input and gives its output and a function from the loss's gradient with
respect to the output to those with respect to the input and to the weights.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import ndtr

from diptych.layers import Activate, AveragePool, BatchNorm, Conv, Dense, MaxPool, Shape, margins
from diptych.network import Weights

Array = np.ndarray
"""Always float64; images are (n, height, width, channels)."""
Reverse = Callable[[Array], tuple[Array, Weights]]
Operation = Callable[[Array], tuple[Array, Reverse]]


def windows(layer: Conv | MaxPool | AveragePool, x: Array, fill: float = 0.0) -> Array:
    """The values in each position of the layer's window, with padding of ``fill``.

    Returns:
        (n, height, width, channels, window height, window width), a view.
    """
    padded = np.pad(x, ((0, 0), *layer.pads(x.shape[1:]), (0, 0)), constant_values=fill)
    every = sliding_window_view(padded, layer.window, axis=(1, 2))
    return every[:, :: layer.steps[0], :: layer.steps[1]]


def from_windows(layer: Conv | MaxPool | AveragePool, seen: Array, shape: Shape) -> Array:
    """The reverse of `windows`: adds up, for each pixel, what each window has for it."""
    (top, bottom), (left, right) = layer.pads(shape[1:])
    count, height, width, channels = shape
    padded = np.zeros((count, top + height + bottom, left + width + right, channels))
    down, across = layer.steps
    for row, column in np.ndindex(*layer.window):
        rows = slice(row, row + down * seen.shape[1], down)
        columns = slice(column, column + across * seen.shape[2], across)
        padded[:, rows, columns] += seen[..., row, column]
    return padded[:, top : top + height, left : left + width]


def convolve(layer: Conv, weights: Weights, x: Array) -> tuple[Array, Reverse]:
    kernel, seen = weights["kernel"], windows(layer, x)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_windows = np.tensordot(gradient, kernel, axes=(3, 3))
        to_kernel = np.tensordot(seen, gradient, axes=((0, 1, 2), (0, 1, 2)))
        to_weights = {"kernel": np.moveaxis(to_kernel, 0, 2), "bias": gradient.sum((0, 1, 2))}
        return from_windows(layer, np.moveaxis(to_windows, 5, 3), x.shape), to_weights

    return np.tensordot(seen, kernel, axes=((4, 5, 3), (0, 1, 2))) + weights["bias"], reverse


def dense(weights: Weights, x: Array) -> tuple[Array, Reverse]:
    kernel = weights["kernel"]

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        return gradient @ kernel.T, {"kernel": x.T @ gradient, "bias": gradient.sum(0)}

    return x @ kernel + weights["bias"], reverse


def max_pool(layer: MaxPool, x: Array) -> tuple[Array, Reverse]:
    """On a tie the whole gradient goes to the first maximum, row by row, as in TensorFlow."""
    seen = windows(layer, x, fill=-np.inf)
    flat = seen.reshape(*seen.shape[:4], -1)
    first = flat.argmax(axis=-1, keepdims=True)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_flat = np.zeros(flat.shape)
        np.put_along_axis(to_flat, first, gradient[..., None], axis=-1)
        return from_windows(layer, to_flat.reshape(seen.shape), x.shape), {}

    return np.take_along_axis(flat, first, axis=-1)[..., 0], reverse


def average_pool(layer: AveragePool, x: Array) -> tuple[Array, Reverse]:
    pixels = windows(layer, np.ones((1, *x.shape[1:])))  # The padding is zero: it does not count.
    share = pixels / pixels.sum(axis=(4, 5), keepdims=True)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        return from_windows(layer, gradient[..., None, None] * share, x.shape), {}

    return (windows(layer, x) * share).sum(axis=(4, 5)), reverse


def drop(rate: float, chance: np.random.Generator, x: Array) -> tuple[Array, Reverse]:
    """Inverted dropout (Srivastava et al., 2014): what is kept is scaled up, in training alone."""
    scale = (chance.random(x.shape) >= rate) / (1 - rate)
    return x * scale, lambda gradient: (gradient * scale, {})


def flatten(expected: Shape, x: Array) -> tuple[Array, Reverse]:
    """Around the features of a cropped image come zeros, up to the shape that is expected."""
    around = [(0, 0), *margins(expected, x.shape[1:])]
    padded = np.pad(x, around)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        inner = tuple(
            slice(before, before + size) for (before, _), size in zip(around, x.shape, strict=True)
        )
        return gradient.reshape(padded.shape)[inner], {}

    return padded.reshape(len(x), -1), reverse


def batch_norm(
    layer: BatchNorm, weights: Weights, training: bool, x: Array
) -> tuple[Array, Reverse]:
    """Ioffe & Szegedy (2015); in training, mean and variance depend on x and are derived too."""
    gamma, axes = weights["gamma"], tuple(range(x.ndim - 1))
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    if training:
        mean, variance = x.mean(axes), x.var(axes)
    deviation = np.sqrt(variance + layer.epsilon)
    normal = (x - mean) / deviation

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_x = gamma / deviation * gradient
        if training:
            along = (gradient * normal).mean(axes)
            to_x = gamma / deviation * (gradient - gradient.mean(axes) - normal * along)
        return to_x, {"gamma": (gradient * normal).sum(axes), "beta": gradient.sum(axes)}

    return gamma * normal + weights["beta"], reverse


def activate(layer: Conv | Dense | Activate, x: Array) -> tuple[Array, Reverse]:
    match layer.activation:
        case "relu":
            y, slope = np.maximum(x, 0), np.where(x > 0, 1.0, 0.0)
        case "leaky_relu":
            slope = np.where(x > 0, 1.0, layer.slope or 0.0)
            y = x * slope
        case "elu":
            y = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
            slope = np.where(x > 0, 1.0, y + 1)
        case "gelu":  # x times the normal distribution function (Hendrycks & Gimpel, 2016)
            y = x * ndtr(x)
            slope = ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        case "tanh":
            y = np.tanh(x)
            slope = 1 - y**2
        case "linear":
            y, slope = x, np.ones_like(x)
    return y, lambda gradient: (gradient * slope, {})


def cross_entropy(logits: Array, labels: np.ndarray) -> tuple[float, Array]:
    """Softmax cross-entropy, the mean over the batch.

    Args:
        logits: (n, classes).
        labels: integers (n,).

    Returns:
        The loss and its gradient with respect to the logits (n, classes).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)  # So that no exponential overflows.
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    truth = np.eye(logits.shape[1])[labels]
    return -(log_shares * truth).sum(1).mean(), (np.exp(log_shares) - truth) / len(labels)
