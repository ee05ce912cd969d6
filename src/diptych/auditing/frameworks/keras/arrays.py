"""Arrays between Keras' layout and the graph's."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Shape = tuple[int, ...]
Batch = tuple[np.ndarray, np.ndarray]


def to_array(tensor: Any) -> np.ndarray:
    """Copies a tensor or a variable as float32; as float64 if that is what it is, or what Keras
    computes in by default."""
    array = np.array(keras.ops.convert_to_numpy(tensor))
    wide = array.dtype == np.float64 or keras.config.floatx() == "float64"
    return array.astype(np.float64 if wide else np.float32)


def to_numbers(tensor: Any) -> np.ndarray:
    """Copies a batch's targets; whole numbers stay whole."""
    array = np.array(keras.ops.convert_to_numpy(tensor))
    return array.astype(np.int64) if array.dtype.kind in "iub" else to_array(array)


@dataclass(frozen=True)
class Layout:
    """The position of the channels in a model's arrays (n, …); the graph has them last."""

    channels_first: bool

    def to_graph(self, array: np.ndarray) -> np.ndarray:
        """Moves the channels of an array (n, …) to the end."""
        return np.moveaxis(array, 1, -1) if self.channels_first and array.ndim > 2 else array

    def from_graph(self, array: np.ndarray) -> np.ndarray:
        """Moves the channels of an array (n, …, channels) to where the model has them."""
        array = np.asarray(array)
        turned = np.moveaxis(array, -1, 1) if self.channels_first and array.ndim > 2 else array
        return np.ascontiguousarray(turned)
