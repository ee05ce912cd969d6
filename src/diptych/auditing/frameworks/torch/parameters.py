"""A module's parameters, and how they lie in PyTorch's layout and in the graph's."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

KERNEL, MATRIX, VECTOR, MOVED, BARE, PLAIN = (
    *("kernel", "matrix", "vector", "moved", "bare", "plain"),
)
"""How a parameter of PyTorch's lies to that of the graph: a convolution's kernel (outputs, inputs,
height, width) against (height, width, inputs, outputs); a matrix (units, inputs) against (inputs,
units); a vector with further axes of one; numbers (channels, *spatial) against (*spatial,
channels); numbers without axes of one in front; as it is."""


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters, and the moving averages and other numbers that it saves, by name."""
    unsaved = {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        for name in part._non_persistent_buffers_set
    }
    buffers = {
        name: buffer
        for name, buffer in module.named_buffers()
        if name not in unsaved and buffer.is_floating_point()
    }
    return dict(module.named_parameters()) | buffers


def usual_turn(module: nn.Module, name: str) -> str:
    """How a parameter that no node has lies, by the layer that it is of."""
    path, _, own = name.rpartition(".")
    layer = module.get_submodule(path)
    if own == "weight" and isinstance(layer, nn.Linear):
        return MATRIX
    kernel = own == "weight" and isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return KERNEL if kernel else PLAIN


def to_graph(array: np.ndarray, turn: str) -> np.ndarray:
    """A copy of a parameter in the graph's layout."""
    return np.array(turned(array, turn), order="C")


def turned(array: np.ndarray, turn: str) -> np.ndarray:
    """A parameter in the graph's layout, without a copy."""
    if turn == KERNEL:
        array = np.moveaxis(array, (0, 1), (-1, -2))
    elif turn == MATRIX:
        array = array.T
    elif turn == VECTOR:
        array = array.reshape(-1)
    elif turn == MOVED:
        array = np.moveaxis(array, 0, -1)
    elif turn == BARE:
        long = [axis for axis, size in enumerate(array.shape[:-1]) if size > 1]
        array = array.reshape(array.shape[min(long, default=array.ndim - 1) :])
    return array


def from_graph(array: np.ndarray, turn: str, shape: torch.Size) -> np.ndarray:
    """The reverse of `to_graph`.

    Raises:
        ValueError: the array does not have as many numbers as the shape.
    """
    if turn == KERNEL:
        array = np.moveaxis(array, (-1, -2), (0, 1))
    elif turn == MATRIX:
        array = array.T
    elif turn == MOVED:
        array = np.moveaxis(array, -1, 0)
    return np.ascontiguousarray(array).reshape(shape)


def as_array(value: Any) -> np.ndarray:
    """A tensor's numbers, or the array that it is; types that NumPy does not have as float32."""
    if not isinstance(value, Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    short = value.dtype in (torch.bfloat16, torch.float16)
    return value.float().numpy() if short else value.numpy()
