"""Files that other tools open: runs go out to them, and networks come in from them.

`exporting` and `importing` choose among the formats, one module each. Those import frameworks, and
what they open may come from anywhere: they work in a process of their own.
"""

import difflib
import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.errors import InputError
from diptych.network import Network, Weights


@dataclass(frozen=True)
class Format:
    """What is known of a format before its module is imported."""

    suffix: str
    description: str
    needs: tuple[str, ...] = ()
    """Packages that not everybody has."""
    extra: str = ""
    """The extra that brings them."""
    int8: bool = False
    """Whether a file can hold the network in 8-bit integers."""
    computes: bool = True
    """Whether a file says how to compute; else it holds weights alone."""
    comes_in: bool = False
    """Whether files can be imported."""


FORMATS = {
    "keras": Format(".keras", "Keras 3, on any backend", comes_in=True),
    "savedmodel": Format(".savedmodel", "TensorFlow's SavedModel, a folder"),
    "onnx": Format(".onnx", "ONNX", ("onnx", "onnxruntime"), "onnx", int8=True, comes_in=True),
    "litert": Format(
        ".tflite", "LiteRT, once TensorFlow Lite", ("ai_edge_litert",), "export", True
    ),
    "torch": Format(".pt2", "PyTorch: program, module and weights", ("torch",), "torch"),
    "safetensors": Format(
        ".safetensors", "the weights, as Diptych has them", computes=False, comes_in=True
    ),
}
"""The formats' names; each has a module of that name."""

LARGEST = 512 * 2**20
"""Bytes that a file may hold, unpacked, to be imported."""
EMBEDDED = "diptych.json"
"""What a file says of itself, where its format takes files within files."""


@dataclass(frozen=True)
class Content:
    """What goes into a file."""

    network: Network
    weights: Weights
    about: dict[str, Any]
    """Plain data that go along, see `exporting.about`."""
    uint8_input: bool = False
    """Pixels from 0 to 255 go in and are scaled inside; else float32 that have been scaled."""
    int8: bool = False
    examples: np.ndarray | None = None
    """For int8: training images, uint8 (n, height, width, channels), whose values in each layer say
    what range the integers have to cover."""


@dataclass(frozen=True)
class Found:
    """What was read from a file."""

    network: Network
    weights: Weights
    about: dict[str, Any]
    """What an export of ours says of itself, by `exporting.about`; else empty."""


class FormatModule(Protocol):
    """What the module of a format has."""

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
        """What that tool computes of images (n, height, width, channels) in the file's own type.

        Returns:
            float32 (n, classes).
        """
        ...

    def read(self, path: Path) -> Found:
        """Reads a file that may come from anywhere; nothing in it is run as code.

        Raises:
            InputError: it is damaged, or holds what a `Network` cannot describe.
        """
        ...


def load(name: str) -> Any:
    """A format's module, a `FormatModule` as far as the format can do that."""
    return importlib.import_module(f"{__name__}.{name}")


def check_format(name: str) -> Format:
    """The format of that name; imports nothing.

    Raises:
        InputError: there is none, or it needs what is not installed.
    """
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FORMATS)}"
        raise InputError(f"format {name!r}: no such format ({hint})")
    found = FORMATS[name]
    if missing := [package for package in found.needs if find_spec(package) is None]:
        raise InputError(
            f"format {name} needs {' and '.join(missing)}, not installed here: "
            f"pip install 'diptych[{found.extra}]'"
        )
    return found


def in_batches(images: np.ndarray, count: int = 250) -> list[np.ndarray]:
    """The images, so many at a time."""
    return [images[start : start + count] for start in range(0, len(images), count)]
