"""Layouts: a network's arrays and parameters, and the graph's."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.auditing.frameworks.jax.trace import Operation, Trace, Value


@dataclass(frozen=True)
class Turn:
    """The conversion of a parameter to the graph's layout: a transposition, then a reshape."""

    own: tuple[int, ...]
    """The parameter's shape."""
    order: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Turn":
        """Nothing is turned."""
        return cls(shape, tuple(range(len(shape))), shape)

    def then(self, operation: Operation) -> "Turn | None":
        """The turn and an operation after it; None where it does more than turn."""
        if operation.name in ("convert_element_type", "stop_gradient", "copy"):
            return self
        after = operation.outputs[0].shape
        sizes = [size for size in after if size != 1]
        plain = [size for size in self.shape if size != 1]
        if operation.name in ("reshape", "squeeze", "expand_dims") and sizes == plain:
            return Turn(self.own, self.order, after)
        if operation.name == "broadcast_in_dim" and sizes == plain:
            return Turn(self.own, self.order, after)
        if operation.name == "transpose":
            return self.transposed(tuple(operation.params["permutation"]))
        return None

    def transposed(self, permutation: tuple[int, ...]) -> "Turn | None":
        """The turn, followed by a transposition."""
        if len(self.shape) == len(self.order):
            order = tuple(self.order[axis] for axis in permutation)
            return Turn(self.own, order, tuple(self.shape[axis] for axis in permutation))
        return None

    def reshaped(self, shape: tuple[int, ...]) -> "Turn":
        """The turn, followed by a reshape."""
        return Turn(self.own, self.order, shape)

    def to_graph(self, value: np.ndarray) -> np.ndarray:
        """A parameter as the graph has it."""
        return np.ascontiguousarray(value.transpose(self.order).reshape(self.shape))

    def from_graph(self, value: np.ndarray) -> np.ndarray:
        """A parameter as the user's code has it."""
        turned = value.reshape([self.own[axis] for axis in self.order])
        return np.ascontiguousarray(turned.transpose(np.argsort(self.order)))


@dataclass(frozen=True)
class Layout:
    """The position of a network's channels."""

    first: bool

    @classmethod
    def of(cls, trace: Trace, x: Value) -> "Layout":
        """The layout that the first convolution has."""
        for operation in trace.operations:
            if operation.name == "conv_general_dilated":
                return cls(operation.params["dimension_numbers"].lhs_spec[1] == 1)
        return cls(False)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one example, channels last."""
        one = shape[1:]
        return (*one[1:], one[0]) if self.first and len(one) > 1 else one

    def to_graph(self, value: Any) -> np.ndarray:
        """An array (n, …) with channels last."""
        array = np.asarray(value)
        return np.moveaxis(array, 1, -1) if self.first and array.ndim > 2 else array

    def from_graph(self, value: np.ndarray) -> np.ndarray:
        """An array (n, …) as the network has it."""
        turned = np.moveaxis(value, -1, 1) if self.first and value.ndim > 2 else value
        return np.ascontiguousarray(turned)
