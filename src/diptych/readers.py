"""A registry of functions that read the operations of a framework or a format."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Reader = TypeVar("Reader", bound=Callable[..., object])


class Readers(Generic[Reader]):
    """The readers of one framework or format, by the names of the operations that they read.

    Each has one, called ``reads``, and registers its readers by decoration:

    >>> reads: Readers[Callable[[float], float]] = Readers()
    >>> @reads("conv1d", "conv2d")
    ... def convolution(x: float) -> float:
    ...     return 2 * x
    >>> reads["conv2d"](3.0)
    6.0
    """

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    def __call__(self, *names: str) -> Callable[[Reader], Reader]:
        """Registers the decorated function for operations of these names.

        Raises:
            ValueError: another function reads one of them already.
        """

        def register(reader: Reader) -> Reader:
            for name in names:
                if name in self._readers:
                    raise ValueError(f"{name} is read by {self._readers[name]} already")
                self._readers[name] = reader
            return reader

        return register

    def __getitem__(self, name: str) -> Reader:
        return self._readers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def get(self, name: str) -> Reader | None:
        """The function that reads operations of this name, or None."""
        return self._readers.get(name)
