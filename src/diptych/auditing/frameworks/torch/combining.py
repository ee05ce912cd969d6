"""Parameters of the graph that are not simply one of a module's: sums, stacks and blocks of them.

PyTorch's LSTM adds two biases where other frameworks have one. In the graph they are one, their
sum: it moves in training as the two do together. Its attention keeps three matrices in one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Raw = Mapping[str, np.ndarray]
"""A module's own tensors as arrays, by their names."""


@dataclass(frozen=True)
class Combination:
    """The construction of a parameter of the graph from tensors of a module."""

    parts: tuple[str, ...]
    """Their names; all of one shape."""
    stacked: bool = False
    """True if they are stacked along a new first axis, and not added up."""
    rows: tuple[int, int] | None = None
    """The rows that are taken of them, if not all."""
    gates: tuple[int, ...] = (0,)
    """The order in which the blocks of their rows come in the graph."""
    transposed: bool = False
    """True if they are matrices (out, in)."""
    label: str = ""
    """The distinction from other parameters made from the same tensors."""

    @property
    def name(self) -> str:
        """Such as ``lstm.bias_l0`` for the sum of ``bias_ih_l0`` and ``bias_hh_l0``."""
        first, *others = self.parts
        whole = first.replace("bias_ih", "bias") if others else first
        return f"{whole}[{self.label}]" if self.label else whole

    def to_graph(self, raw: Raw) -> np.ndarray:
        """The parameter."""
        arrays = [self._turned(raw[part]) for part in self.parts]
        return np.stack(arrays) if self.stacked else np.sum(arrays, axis=0)

    def gradient(self, raw: Raw) -> np.ndarray | None:
        """The gradient by the parameter, where a part has one: by any term of a sum it is the same.

        Args:
            raw: the parts' gradients, as far as they have one.
        """
        present = [self._turned(raw[part]) for part in self.parts if part in raw]
        if not present:
            return None
        if not self.stacked:
            return present[0]
        zeros = np.zeros_like(present[0])
        return np.stack([self._turned(raw[p]) if p in raw else zeros for p in self.parts])

    def from_graph(
        self, array: np.ndarray, current: Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The parts that make the parameter up: of a sum, the first is all of it.

        Args:
            array: the parameter.
            current: what a part holds, for those of its rows that are not the parameter's.
        """
        values = list(array) if self.stacked else [array, *(0 * array for _ in self.parts[1:])]
        return self._placed(values, current)

    def spread(
        self, array: np.ndarray, current: Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of all parts, of the gradient by the parameter."""
        values = list(array) if self.stacked else [array for _ in self.parts]
        return self._placed(values, current)

    def _placed(
        self, values: list[np.ndarray], current: Callable[[str], np.ndarray]
    ) -> dict[str, np.ndarray]:
        parts = {}
        for part, value in zip(self.parts, values, strict=True):
            whole = np.array(current(part))
            rows = slice(*self.rows) if self.rows else slice(None)
            whole[rows] = self._back(value).reshape(whole[rows].shape)
            parts[part] = whole
        return parts

    def _turned(self, array: np.ndarray) -> np.ndarray:
        array = array[slice(*self.rows)] if self.rows else array
        blocks = np.split(array, len(self.gates))
        array = np.concatenate([blocks[i] for i in self.gates])
        return np.array(array.T if self.transposed else array, order="C")

    def _back(self, array: np.ndarray) -> np.ndarray:
        blocks = np.split(array.T if self.transposed else array, len(self.gates))
        return np.concatenate([blocks[i] for i in np.argsort(self.gates)])
