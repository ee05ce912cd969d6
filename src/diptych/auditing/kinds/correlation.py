"""Convolution in float64, with gradients for autograd: over any number of spatial axes.

Inputs are (n, *spatial, channels), kernels (*window, channels / groups, filters). As in all
frameworks, kernels are not flipped: it is a cross-correlation.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from autograd.extend import defvjp, primitive

from diptych.auditing.kinds.windows import Padding, inside, offsets, output_sizes, padded

CHUNK = 2**20
"""The maximum number of values in the windows of some examples: 8 MiB, because arrays that fit the
cache are faster."""


@dataclass(frozen=True)
class Setting:
    """Strides, padding and dilation of a kernel."""

    strides: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1


def _sizes(x_shape: tuple[int, ...], setting: Setting) -> tuple[int, ...]:
    """The input's sizes along its spatial axes, with padding."""
    return tuple(size + sum(pad) for size, pad in zip(x_shape[1:-1], setting.padding, strict=True))


def _check(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], groups: int) -> None:
    if len(x_shape) != len(kernel_shape):
        raise ValueError(f"a kernel {kernel_shape} does not match the axes of an input {x_shape}")
    if x_shape[-1] != kernel_shape[-2] * groups or kernel_shape[-1] % groups:
        raise ValueError(
            f"a kernel {kernel_shape} in {groups} groups does not fit an input {x_shape}"
        )


def _by_group(kernel: np.ndarray, groups: int) -> np.ndarray:
    """The kernel as (groups, window · channels / groups, filters / groups)."""
    *_, filters = kernel.shape
    return kernel.reshape(-1, groups, filters // groups).transpose(1, 0, 2)


def _rows_by_group(y: np.ndarray, groups: int) -> np.ndarray:
    """The output as (groups, n · pixels, filters / groups)."""
    return y.reshape(-1, groups, y.shape[-1] // groups).transpose(1, 0, 2)


def _chunks(
    x: np.ndarray, window: tuple[int, ...], setting: Setting
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some examples at a time: their windows laid out, (groups, n · pixels, window · channels /
    groups). The array is used again for the next ones.

    Args:
        x: padded.
        window: the kernel's sizes along the spatial axes.
        setting: how the kernel moves.
    """
    lengths = output_sizes(x.shape[1:-1], window, setting.strides, setting.dilation)
    groups, channels = setting.groups, x.shape[-1] // setting.groups
    pixels, size = int(np.prod(lengths)), int(np.prod(window)) * channels
    count = min(len(x), max(1, CHUNK // max(1, pixels * size * groups)))
    whole = np.empty((groups, count, *lengths, *window, channels))
    for start in range(0, len(x), count):
        part = x[start : start + count]
        laid_out = whole[:, : len(part)]
        for place, where in offsets(window, setting.strides, setting.dilation, lengths):
            by_group = part[where].reshape(len(part), *lengths, groups, channels)
            laid_out[(..., *place, slice(None))] = np.moveaxis(by_group, -2, 0)
        yield (
            slice(start, start + len(part)),
            laid_out.reshape(groups, len(part) * pixels, size),
        )


def _correlate(x: np.ndarray, kernel: np.ndarray, setting: Setting) -> np.ndarray:
    _check(x.shape, kernel.shape, setting.groups)
    *window, _, filters = kernel.shape
    x = padded(x, setting.padding)
    lengths = output_sizes(x.shape[1:-1], window, setting.strides, setting.dilation)
    weights = _by_group(kernel, setting.groups)
    y = np.empty((len(x), *lengths, filters))
    for rows, windows in _chunks(x, tuple(window), setting):
        y[rows] = (windows @ weights).transpose(1, 0, 2).reshape(-1, *lengths, filters)
    return y


def _spread(
    y: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...], setting: Setting
) -> np.ndarray:
    """Each value of y times the kernel, summed where they overlap: the gradient of a convolution to
    its input, and the transposed convolution.

    Args:
        y: (n, *spatial, filters).
        kernel: (*window, channels / groups, filters).
        shape: of the result, without padding: (n, *spatial, channels).
        setting: how the kernel moves.
    """
    _check(shape, kernel.shape, setting.groups)
    *window, channels, _ = kernel.shape
    sizes = _sizes(shape, setting)
    lengths = output_sizes(sizes, window, setting.strides, setting.dilation)
    if y.shape[1:] != (*lengths, kernel.shape[-1]):
        raise ValueError(f"{y.shape} is not what a kernel {kernel.shape} makes of {shape}")
    x = np.zeros((len(y), *sizes, setting.groups * channels))
    rows = _rows_by_group(y, setting.groups)
    for place, pixels in offsets(window, setting.strides, setting.dilation, lengths):
        weights = _by_group(kernel[place], setting.groups).transpose(0, 2, 1)
        part = (rows @ weights).transpose(1, 0, 2)
        x[pixels] += part.reshape(len(y), *lengths, -1)
    return x[inside(setting.padding, shape[1:-1])]


def _kernel_gradient(
    x: np.ndarray, y: np.ndarray, shape: tuple[int, ...], setting: Setting
) -> np.ndarray:
    """The gradient to a kernel of this shape, for an input x and a gradient y of the output."""
    *window, channels, filters = shape
    groups = setting.groups
    total = np.zeros((groups, int(np.prod(window)) * channels, filters // groups))
    for rows, windows in _chunks(padded(x, setting.padding), tuple(window), setting):
        total += windows.transpose(0, 2, 1) @ _rows_by_group(y[rows], groups)
    return total.transpose(1, 0, 2).reshape(shape)


convolve = primitive(_correlate)
"""Convolution: (x, kernel, setting) to (n, *spatial, filters). Raises ValueError where the shapes
do not fit."""
defvjp(
    convolve,
    lambda y, x, kernel, setting: lambda g: _spread(g, kernel, x.shape, setting),
    lambda y, x, kernel, setting: lambda g: _kernel_gradient(x, g, kernel.shape, setting),
)

convolve_transposed = primitive(_spread)
"""Transposed convolution: (y, kernel, shape of the result, setting) to that result. Raises
ValueError where the shapes do not fit."""
defvjp(
    convolve_transposed,
    lambda x, y, kernel, shape, setting: lambda g: _correlate(g, kernel, setting),
    lambda x, y, kernel, shape, setting: lambda g: _kernel_gradient(g, y, kernel.shape, setting),
)
