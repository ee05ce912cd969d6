"""The source of the pixels of an output, with NumPy alone: for kinds, and for adapters in
environments with nothing else."""

from collections.abc import Sequence

import numpy as np

METHODS = ("nearest", "linear", "cubic", "keys")
"""``cubic`` has the coefficient -0.75 and repeats the pixel at the edge (PyTorch); ``keys`` has
-0.5 and leaves out what is beyond the edge (TensorFlow, JAX; Keys, 1981)."""
CENTRES = ("half", "corners", "corner")
"""The position of output pixel i in the input: ``half`` has the centres at half pixels, (i + 0.5) ·
ratio - 0.5; ``corners`` and ``corner`` have i · ratio, with the centres of all corner pixels
aligned, or only of the first one."""


def _places(count: int, ratio: float, centres: str) -> np.ndarray:
    at = np.arange(count)
    return (at + 0.5) * ratio - 0.5 if centres == "half" else at * ratio


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel (Keys, 1981)."""
    d = np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def matrix(size: int, wanted: int, ratio: float, method: str, centres: str) -> np.ndarray:
    """The matrix of resampling along one axis: (wanted, size).

    Args:
        size: pixels of the input.
        wanted: pixels of the output.
        ratio: pixels of the input for each of the output.
        method: one of `METHODS`.
        centres: one of `CENTRES`.
    """
    places, rows = _places(wanted, ratio, centres), np.arange(wanted)
    weights = np.zeros((wanted, size))
    if method == "nearest":
        # Half a pixel is rounded up, and where only the first corners meet nothing is rounded.
        shift = 0.0 if centres == "corner" else 0.5
        columns = np.floor(np.round(places + shift, 9)).astype(int)
        weights[rows, np.clip(columns, 0, size - 1)] = 1.0
        return weights
    below = np.floor(places).astype(int)
    taps = (0, 1) if method == "linear" else (-1, 0, 1, 2)
    for tap in taps:
        columns = below + tap
        share = 1 - np.abs(places - columns)
        if method != "linear":
            share = _cubic(places - columns, -0.75 if method == "cubic" else -0.5)
        if method == "keys":
            share = np.where((columns >= 0) & (columns < size), share, 0.0)
        np.add.at(weights, (rows, np.clip(columns, 0, size - 1)), share)
    return weights / weights.sum(1, keepdims=True)


def ratios(sizes: Sequence[int], wanted: Sequence[int], centres: str) -> list[float]:
    """Pixels of the input per pixel of the output, if the sizes alone determine it."""
    if centres == "corners":
        return [
            (size - 1) / (to - 1) if to > 1 else 0.0 for size, to in zip(sizes, wanted, strict=True)
        ]
    return [size / to for size, to in zip(sizes, wanted, strict=True)]


def sliced(sizes: Sequence[int], index: Sequence[slice | int]) -> dict[str, list]:
    """The attributes of a slice.

    Args:
        sizes: of the input's axes, without the batch.
        index: for each of them, what is taken; a number drops the axis.
    """
    slices, dropped = [], []
    for axis, (size, what) in enumerate(zip(sizes, index, strict=True)):
        if not isinstance(what, slice):
            at = int(what) % size
            slices.append([at, at + 1, 1])
            dropped.append(axis)
            continue
        start, stop, step = what.indices(size)
        slices.append([start, None if stop < 0 else stop, step])
    return {"slices": slices, "dropped": dropped}
