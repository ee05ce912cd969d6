"""The formats by name, and which extra each of them needs."""

import difflib
import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from diptych.errors import InputError


@dataclass(frozen=True)
class Format:
    """What is known of a format before its module is imported."""

    suffix: str
    description: str
    module: str
    """Below `diptych.formats`; it is a `protocol.FormatModule`, as far as the format can be."""
    needs: tuple[str, ...] = ()
    """Packages that not everybody has."""
    extra: str = ""
    """The extra that brings them."""
    int8: bool = False
    """Whether a file can hold the network in 8-bit integers."""
    computes: bool = True
    """Whether a file says how to compute; else it holds weights alone."""
    is_imported: bool = False
    """Whether files can be imported."""


FORMATS = {
    "keras": Format(".keras", "Keras 3, on any backend", "keras.format", is_imported=True),
    "savedmodel": Format(".savedmodel", "TensorFlow's SavedModel, a folder", "savedmodel"),
    "onnx": Format(
        ".onnx",
        "ONNX",
        "onnx.format",
        ("onnx", "onnxruntime"),
        "onnx",
        int8=True,
        is_imported=True,
    ),
    "litert": Format(
        ".tflite", "LiteRT, once TensorFlow Lite", "litert", ("ai_edge_litert",), "export", True
    ),
    "torch": Format(".pt2", "PyTorch: program, module and weights", "torch", ("torch",), "torch"),
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


def check_format(name: str) -> Format:
    """The format of that name; imports nothing.

    Raises:
        InputError: there is none, or it needs what is not installed.
    """
    if name not in FORMATS:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FORMATS)}"
        raise InputError(f"format {name!r}: no such format ({hint})")
    form = FORMATS[name]
    if missing := [package for package in form.needs if find_spec(package) is None]:
        raise InputError(
            f"format {name} needs {' and '.join(missing)}, not installed here: "
            f"pip install 'diptych[{form.extra}]'"
        )
    return form
