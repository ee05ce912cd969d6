"""Several inputs, outputs or targets as one array (n, numbers), so that an audit has one of each.

Whole numbers (token ids, masks) go through it as floating-point ones, which hold them exactly up to
2^24, and become whole again where they come out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.errors import InputError

OWN = "own"
"""The value of `Adapter.targets` if targets cannot be generated: the audit uses the side's own."""


@dataclass(frozen=True)
class Part:
    """One of the arrays that are packed."""

    name: str
    shape: tuple[int, ...]
    """Without the batch."""
    start: int
    """The first of its columns."""
    whole: str
    """The type of whole numbers, such as ``int64`` or ``bool``; empty for others."""

    @property
    def stop(self) -> int:
        return self.start + int(np.prod(self.shape))


@dataclass(frozen=True)
class Packing:
    """The layout of a nested structure of arrays in one array."""

    parts: tuple[Part, ...]
    like: Any
    """The structure, with the number of a part for each array."""

    @classmethod
    def of(cls, value: Any, source: str, as_array: Callable[[Any], np.ndarray]) -> "Packing":
        """Sees how a structure is made.

        Args:
            value: arrays in nested lists, tuples and dictionaries.
            source: who gives it, for messages.
            as_array: makes a NumPy array of one of them.

        Raises:
            InputError: an array holds no numbers, or they are not of the same number of examples.
        """
        parts: list[Part] = []
        counts: dict[str, int] = {}

        def see(name: str, leaf: Any) -> int:
            array = as_array(leaf)
            if array.dtype.kind not in "fiub":
                raise InputError(f"{source}: {name} is of {array.dtype}: give numbers")
            if not array.ndim:
                raise InputError(f"{source}: {name} is one number: give one for each example")
            counts[name] = len(array)
            start = parts[-1].stop if parts else 0
            whole = str(array.dtype) if array.dtype.kind in "iub" else ""
            parts.append(Part(name, array.shape[1:], start, whole))
            return len(parts) - 1

        like = mapped(value, see)
        if not parts:
            raise InputError(f"{source} holds no arrays")
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"{source} holds other numbers of examples: {told}")
        return cls(tuple(parts), like)

    @property
    def width(self) -> int:
        """The columns of the packed array."""
        return self.parts[-1].stop

    @property
    def whole(self) -> list[tuple[int, int]]:
        """The columns, from and to below, that hold whole numbers."""
        return [(part.start, part.stop) for part in self.parts if part.whole]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each part, without the batch."""
        return [part.shape for part in self.parts]

    def pack(self, value: Any, as_array: Callable[[Any], np.ndarray]) -> np.ndarray:
        """A structure of this kind as one array, float32 (float64 where something in it is)."""
        leaves: list[np.ndarray] = []
        mapped(value, lambda name, leaf: leaves.append(as_array(leaf)))
        wide = any(leaf.dtype == np.float64 for leaf in leaves)
        columns = [leaf.reshape(len(leaf), -1) for leaf in leaves]
        return np.concatenate(columns, axis=1).astype(np.float64 if wide else np.float32)

    def unpack(self, leaves: list[Any]) -> Any:
        """The structure with these in the places of its parts."""
        return mapped(self.like, lambda name, number: leaves[number])

    def arrays(self, packed: np.ndarray) -> list[np.ndarray]:
        """The parts of a packed array."""
        return [taken(part, packed) for part in self.parts]


def taken(part: Part, packed: np.ndarray) -> np.ndarray:
    """One part of a packed array, in its own shape and type."""
    own = packed[:, part.start : part.stop].reshape(len(packed), *part.shape)
    return np.rint(own).astype(part.whole) if part.whole else own


def is_nested(value: Any) -> bool:
    """True if a value is a structure of arrays and not one itself."""
    if isinstance(value, dict):
        return True
    return isinstance(value, list | tuple) and any(
        hasattr(item, "shape") or is_nested(item) for item in value
    )


def mapped(value: Any, function: Callable[[str, Any], Any], name: str = "") -> Any:
    """The same nested structure with each leaf replaced; None stays.

    Args:
        value: leaves in lists, tuples and dictionaries.
        function: gets a leaf's name, such as ``image`` or ``boxes.0``, and the leaf.
        name: of the structure in the one around it.
    """
    inside = f"{name}." if name else ""
    if isinstance(value, dict):
        return {key: mapped(item, function, f"{inside}{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [mapped(item, function, f"{inside}{i}") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    return None if value is None else function(name, value)


def sorted_by_name(value: Any) -> Any:
    """A dictionary sorted by name, so that two sides with the same names pack in the same way."""
    if isinstance(value, dict):
        return {key: sorted_by_name(value[key]) for key in sorted(value, key=str)}
    return value


def leaves_of(value: Any) -> Iterator[Any]:
    """The leaves of a nested structure, in order."""
    leaves: list[Any] = []
    mapped(value, lambda name, leaf: leaves.append(leaf))
    return iter(leaves)
