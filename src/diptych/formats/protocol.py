"""The interface of a format's module, and the content of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.network import Network, Weights


@dataclass(frozen=True)
class Content:
    """The content of an export."""

    network: Network
    weights: Weights
    about: dict[str, Any]
    """Plain data that go along, see `exporting.about_run`."""
    uint8_input: bool = False
    """The file takes pixels from 0 to 255 and scales them; else float32 that have been scaled."""
    int8: bool = False
    examples: np.ndarray | None = None
    """For int8: training images, uint8 (n, height, width, channels), whose values in each layer
    determine the range that the integers cover."""


@dataclass(frozen=True)
class StoredNetwork:
    """The content of an imported file."""

    network: Network
    weights: Weights
    about: dict[str, Any]
    """The description that an export of this package contains, by `exporting.about_run`; else
    empty."""


class FormatModule(Protocol):
    """The interface of a format's module."""

    EXAMPLE: str
    """Python that loads ``{file}`` with the format's own tool and gives it the array ``images``; it
    leaves ``logits``. Empty where the format computes nothing."""

    def write(self, content: Content, path: Path) -> None:
        """Writes the file, or folder, and what belongs beside it, all with the same stem."""
        ...

    def tool(self) -> str:
        """The tool that opens such files, with its version."""
        ...

    def logits(self, path: Path, images: np.ndarray) -> np.ndarray:
        """The logits that the tool computes of images (n, height, width, channels).

        Args:
            path: the file.
            images: in the type that the file takes.

        Returns:
            float32 (n, classes).
        """
        ...

    def read(self, path: Path) -> StoredNetwork:
        """Reads a file that may come from anywhere; nothing in it is run as code.

        Raises:
            InputError: it is damaged, or holds what a `Network` cannot describe.
        """
        ...


def in_batches(images: np.ndarray, size: int = 250) -> list[np.ndarray]:
    """The images in batches of up to ``size``."""
    return [images[start : start + size] for start in range(0, len(images), size)]
