"""The formats by name, and which extra each of them needs."""

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from diptych import extras
from diptych.errors import InputError


@dataclass(frozen=True)
class Format:
    """The description of a format, without importing its module."""

    suffix: str
    description: str
    module: str
    """Below `diptych.formats`; it is a `protocol.FormatModule`, as far as the format can be."""
    needs: tuple[str, ...] = ()
    """Packages, of `diptych.extras`, that writing takes."""
    reading_needs: tuple[str, ...] = ()
    """Packages that reading takes."""
    int8: bool = False
    """True if a file can hold the network in 8-bit integers."""
    computes: bool = True
    """True if a file says how to compute; else it holds weights alone."""
    is_imported: bool = False
    """True if files can be imported."""


FORMATS = {
    "keras": Format(
        ".keras",
        "Keras 3, on any backend",
        "keras.format",
        needs=("keras", "tensorflow", "h5py"),
        reading_needs=("h5py",),
        is_imported=True,
    ),
    "savedmodel": Format(
        ".savedmodel",
        "TensorFlow's SavedModel, a folder",
        "savedmodel",
        needs=("tensorflow", "keras"),
    ),
    "onnx": Format(
        ".onnx",
        "ONNX",
        "onnx.format",
        needs=("onnx", "onnxruntime"),
        reading_needs=("onnx", "onnxruntime"),
        int8=True,
        is_imported=True,
    ),
    "litert": Format(
        ".tflite",
        "LiteRT, once TensorFlow Lite",
        "litert",
        needs=("ai_edge_litert", "tensorflow", "keras"),
        int8=True,
    ),
    "torch": Format(".pt2", "PyTorch: program, module and weights", "torch", needs=("torch",)),
    "safetensors": Format(
        ".safetensors",
        "the weights, as Diptych has them",
        "safetensors",
        computes=False,
        is_imported=True,
    ),
}


def load(name: str) -> Any:
    """The module of a format, a `protocol.FormatModule` as far as the format can be one."""
    return importlib.import_module(f"diptych.formats.{FORMATS[name].module}")


def check_format(name: str, reading: bool = False) -> Format:
    """The format of that name; imports nothing.

    Args:
        name: of the format.
        reading: whether files are to be read; else written.

    Raises:
        InputError: there is none, or that needs what is not installed.
    """
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FORMATS)}"
        raise InputError(f"format {name!r}: no such format ({hint})")
    form = FORMATS[name]
    extras.require(f"format {name}", *(form.reading_needs if reading else form.needs))
    return form
