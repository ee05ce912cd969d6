"""The layout of a node's array in a tensor of the file.

A file has tensors in the layout of its exporter, with any transpositions and reshapes. So every
tensor is described by a `View`: the node of its array, and the positions of that array's axes.
Transposing and reshaping then only change the view.
"""

from dataclasses import dataclass

import numpy as np

Axes = tuple[int | None, ...]
LAST, FIRST = "last", "first"
"""The two layouts: channels last, and channels first."""


@dataclass(frozen=True)
class View:
    """A tensor as the array of a node, whose axes may lie in another order in the tensor."""

    node: str
    tensor: str
    axes: Axes
    """For each axis of the tensor, which axis of the array it is: 0 the examples, then as in the
    node's shape. None for an axis of length 1 that the array lacks; the array may have axes of
    length 1 that the tensor lacks."""
    shape: tuple[int, ...]
    """The array's, without the examples."""

    def to_graph(self, tensor: np.ndarray) -> np.ndarray:
        """The array (n, *shape) that a tensor holds."""
        order = sorted(range(tensor.ndim), key=lambda i: (self.axes[i] is None, self.axes[i]))
        return tensor.transpose(order).reshape(-1, *self.shape)

    def from_graph(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The tensor that holds an array.

        Args:
            array: (n, *shape).
            like: the tensor in another run, which may be of another number of examples.
        """
        present = [axis for axis in self.axes if axis is not None]
        missing = [axis for axis in range(array.ndim) if axis not in present]
        shape = [
            len(array) if axis == 0 else n for axis, n in zip(self.axes, like.shape, strict=True)
        ]
        return array.transpose(present + missing).reshape(shape).astype(like.dtype)


@dataclass(frozen=True)
class Weight:
    """A parameter: which initializer holds it, and how its array lies there."""

    initializer: str
    order: tuple[int, ...]
    """The order of the initializer's axes in the parameter."""
    shape: tuple[int, ...]
    """The parameter's."""

    def to_graph(self, stored: np.ndarray) -> np.ndarray:
        """The parameter that an initializer holds."""
        return stored.transpose(self.order).reshape(self.shape)

    def from_graph(self, array: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The initializer that holds a parameter; ``like`` is one of its shape and type."""
        transposed = array.reshape([like.shape[axis] for axis in self.order])
        return transposed.transpose(np.argsort(self.order)).astype(like.dtype)


def shape_of(tensor: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The shape, without the examples, of the array whose axes lie so in a tensor."""
    sizes = {axis: size for axis, size in zip(axes, tensor, strict=True) if axis is not None}
    return tuple(sizes[axis] for axis in range(1, len(sizes)))


def channels_first(rank: int) -> Axes:
    """Examples, channels, spatial axes: how an array with its channels last lies in a tensor."""
    return (0, rank - 1, *range(1, rank - 1)) if rank > 1 else (0,)


def order_of(view: View) -> list[int]:
    """The order in which the array's axes lie in the tensor, without axes of length 1."""
    long = [axis for axis in view.axes if axis == 0 or (axis and view.shape[axis - 1] > 1)]
    return [sorted(long).index(axis) for axis in long]


def channels_first_order(view: View) -> list[int]:
    """As `order_of`, for a tensor that holds the same array with its channels first."""
    rank = len(view.shape) + 1
    return order_of(View("", "", channels_first(rank), view.shape))


def reshaped(view: View, before: tuple[int, ...], after: tuple[int, ...]) -> Axes:
    """The axes of a tensor after axes of length 1 were removed from it or inserted.

    Args:
        view: of the tensor before.
        before: the tensor's shape.
        after: its new shape, whose axes longer than 1 are the same.
    """
    pairs = list(zip(view.axes, before, strict=True))
    long = iter([axis for axis, size in pairs[1:] if size > 1])
    short = iter([axis for axis, size in enumerate(view.shape, 1) if size == 1])
    return (0, *(next(long) if size > 1 else next(short, None) for size in after[1:]))
