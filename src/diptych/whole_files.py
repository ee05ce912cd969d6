"""Files that are whole at every instant, and what is checked of them when they are read."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from diptych.errors import InputError
from diptych.printing import as_json
from diptych.reading import MOST_ARRAY_BYTES, MOST_JSON_BYTES, read_regular


def write_whole(path: Path, contents: bytes) -> None:
    """Writes a file so that at every instant it is the old one or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with aside.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as problem:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise OSError(problem.errno, problem.strerror, str(path)) from None


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as JSON; there is no NaN in it."""
    write_whole(path, (as_json(value) + "\n").encode())


def write_arrays(path: Path, arrays: dict[str, np.ndarray], **metadata: str) -> None:
    """Writes arrays as safetensors, whole or not at all."""
    # Not `save_file`: it writes to a name of its own first, which a kill would leave behind.
    write_whole(path, packed(arrays, metadata))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
        InputError: the file is not there, or is not a safetensors file.
    """
    return unpacked(path, read_regular(path, MOST_ARRAY_BYTES))


def packed(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """The contents of a safetensors file."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return save(whole, metadata or None)


def unpacked(path: Path, contents: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file's contents.

    Raises:
        InputError: they are not those of such a file; says which file.
    """
    try:
        return load(contents)
    # The library raises what its parser meets, a KeyError for a type of numbers that it lacks too.
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as problem:
        raise InputError(f"{path}: not a safetensors file ({problem})") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    try:
        value = json.loads(read_regular(path, MOST_JSON_BYTES).decode())
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON; the file is damaged") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
