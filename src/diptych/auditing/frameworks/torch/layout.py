"""The layout of PyTorch's tensors relative to the arrays of the graph's nodes, which have their
channels last."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LAST, FIRST, POOLED, TIME, STATES = "last", "first", "pooled", "time", "states"
"""How a tensor lies to the array of its node: as it is; with the channels in front of the spatial
axes; with spatial axes of one that the node (a global pool) has dropped; with the steps of a
sequence in front of the examples; as the last states of recurrent layers, (directions, n, units),
which the node has as (n, directions * units), with the number of directions as in ``states:2``."""


def per_axis(axes: int, value: Any) -> list[int]:
    """A number for each spatial axis."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (values * axes if len(values) == 1 else values)]


def channel_axis(layout: str, dimensions: int) -> int:
    """The axis of a tensor's channels."""
    return dimensions - 1 if layout == LAST else 1


def graph_axis(layout: str, axis: int, dimensions: int) -> int:
    """The axis of a node's array for an axis of its tensor; both count the batch."""
    axis %= dimensions
    if layout == LAST or axis == 0:
        return axis
    return dimensions - 1 if axis == 1 else axis - 1


def in_graph(layout: str, values: Sequence[Any]) -> list[Any]:
    """Values for the axes of a tensor, the batch's among them, in the order of the node's array
    and without the batch's."""
    values = list(values)
    return values[2:] + values[1:2] if layout == FIRST else values[1:]


def without_axes(layout: str, dimensions: int, dropped: Sequence[int]) -> str:
    """The layout of a tensor without some axes of another one."""
    kept = dimensions - len(dropped)
    return FIRST if layout == FIRST and 1 not in dropped and kept > 2 else LAST


def by_channel(tensor: Tensor, layout: str, dimensions: int) -> bool:
    """True if a tensor holds a number for each channel of what it is put against."""
    shape = [1] * (dimensions - tensor.ndim) + list(tensor.shape)
    axis = channel_axis(layout, dimensions)
    return len(shape) == dimensions and all(size == 1 for i, size in enumerate(shape) if i != axis)


def to_last(dimensions: int) -> list[int]:
    """The order of axes that moves the channels from behind the batch to the end."""
    return [0, *range(2, dimensions), 1]


def to_first(dimensions: int) -> list[int]:
    """The reverse of `to_last`."""
    return [0, dimensions - 1, *range(1, dimensions - 1)]


def keeps_order(before: tuple[int, ...], layout: str, after: tuple[int, ...], made: str) -> bool:
    """True if a reshaping of the tensor is one of the array in the graph's layout too."""
    numbers = np.arange(np.prod(before)).reshape(before)
    array = to_graph(numbers, layout)
    return bool((array.ravel() == to_graph(numbers.reshape(after), made).ravel()).all())


def keeps_axes(index: Any) -> bool:
    """True if an index that keeps all numbers keeps their order too."""
    items = index if isinstance(index, tuple) else (index,)
    return all(
        item is None or item is ... or isinstance(item, int) or item == slice(None)
        for item in items
    )


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers as float32, or as float64 where it has that."""
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64 if tensor.dtype == torch.float64 else torch.float32).numpy()


def to_graph(array: np.ndarray, layout: str) -> np.ndarray:
    """A tensor's numbers in its node's layout."""
    if layout == POOLED:
        return array.reshape(array.shape[:2])
    if layout == TIME:
        return np.swapaxes(array, 0, 1)
    if layout.startswith(STATES):
        return np.swapaxes(array, 0, 1).reshape(array.shape[1], -1)
    return np.moveaxis(array, 1, -1) if layout == FIRST else array


def from_graph(array: np.ndarray, layout: str, dimensions: int) -> np.ndarray:
    """The reverse of `to_graph`."""
    if layout == POOLED:
        return array.reshape(array.shape + (1,) * (dimensions - 2))
    if layout == TIME:
        return np.swapaxes(array, 0, 1)
    if layout.startswith(STATES):
        directions = int(layout.split(":")[1])
        return np.swapaxes(array.reshape(len(array), directions, -1), 0, 1)
    return np.moveaxis(array, -1, 1) if layout == FIRST else array
