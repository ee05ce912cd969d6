"""Opening a ``.keras`` file that may come from anywhere, without running code from it.

Such a file is a zip archive: ``config.json`` describes the layers, ``model.weights.h5`` holds the
weights as HDF5. `opened` checks what any reader relies on. `KerasFile` has Keras itself build the
model, once it is certain that no class in the description brings code.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.errors import InputError
from diptych.formats.archives import EMBEDDED, LARGEST, embedded, unzipped

RUN_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Classes of Keras that take code with them into a file."""
MOST_OBJECTS = 40_000
"""That a file may describe. A layer has about five: itself, its initializers and its dtype."""
DEEPEST = 200
"""Lists and tables within each other: a model within a model takes four."""
UNPACKED = 2**26
"""Bytes that the arrays of any file may take: too few to matter."""


@dataclass(frozen=True)
class Archive:
    """The contents of a ``.keras`` file."""

    path: Path
    config: Any
    """The description of the model: plain data, unchecked."""
    about: dict[str, Any]
    """The description that an export of this package contains; else empty."""
    weights: bytes
    """The weights as HDF5, by `check_arrays` in the file itself and of their stated size."""


def opened(path: Path, limit: int | None = None) -> Archive:
    """Reads and checks a ``.keras`` file; nothing in it is run.

    Args:
        path: the file.
        limit: bytes that it may hold, unpacked; `archives.LARGEST` if not given.

    Raises:
        InputError: it is no such file, is damaged, or is larger than a network can be.
    """
    with unzipped(path, limit) as file:
        names = set(file.namelist())
        try:
            config = json.loads(file.read("config.json"))
            about = embedded(file.read(EMBEDDED) if EMBEDDED in names else None)
            weights = file.read("model.weights.h5")
        except Exception as problem:  # zlib, zipfile and json raise many kinds.
            reason = str(problem).strip("'\"") or type(problem).__name__
            raise InputError(
                f"{path.name} is not a whole .keras file ({reason}): save it again with "
                "model.save('model.keras')"
            ) from None
    _check_config(path, config)
    return Archive(path, config, about, weights)


def _check_config(path: Path, config: Any) -> None:
    """Raises InputError where a description is larger, or nested deeper, than a model's can be."""
    objects, waiting = 0, [(config, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise InputError(f"{path.name}: its layers are nested more than {DEEPEST} deep")
        if isinstance(value, dict):
            objects += "class_name" in value
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
    if objects > MOST_OBJECTS:
        raise InputError(
            f"{path.name} describes {objects:,} layers, initializers and the like; expected up to "
            f"{MOST_OBJECTS:,}"
        )


def check_arrays(archive: Archive) -> None:
    """Checks that all arrays are in the file itself, and as large as what is stored of them.

    Raises:
        InputError: they are not, or the weights are no HDF5 file.
    """
    import h5py

    elsewhere: list[str] = []
    size = 0

    def visit_link(name: str, link: Any) -> None:
        if not isinstance(link, h5py.HardLink):
            elsewhere.append(name)

    def visit(name: str, node: Any) -> None:
        nonlocal size
        if isinstance(node, h5py.Dataset):
            size += node.nbytes
            if node.external or node.is_virtual:
                elsewhere.append(name)

    try:
        with h5py.File(io.BytesIO(archive.weights), "r") as file:
            file.visititems_links(visit_link)
            file.visititems(visit)  # Each object once, and no link out of the file.
    except Exception as problem:  # HDF5 raises many kinds.
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise InputError(
            f"{archive.path.name} is damaged: its weights cannot be read ({reason})"
        ) from None
    if elsewhere:
        raise InputError(
            f"{archive.path.name}: weights {elsewhere[0]} are not in the file itself: save it "
            "again with model.save('model.keras')"
        )
    # Keras compresses no array.
    if size > max(len(archive.weights), UNPACKED):
        raise InputError(
            f"{archive.path.name}: its arrays would be {size / 2**20:,.0f} MiB, but "
            f"{len(archive.weights) / 2**20:,.1f} are in the file: save it again with "
            "model.save('model.keras')"
        )


def check_code(path: Path, config: Any, inside: str = "the model") -> None:
    """Checks that a description names no class that only code from the file could give.

    Args:
        path: the file, for the message.
        config: the description, or a part of it.
        inside: the layer that the part belongs to, for the message.

    Raises:
        InputError: it names one.
    """
    if isinstance(config, list):
        for value in config:
            check_code(path, value, inside)
    if not isinstance(config, dict):
        return
    kind, module = config.get("class_name"), config.get("module")
    if isinstance(kind, str):
        name = config["config"].get("name") if isinstance(config.get("config"), dict) else None
        inside = f"{kind} {name!r}" if name else inside
        package = str(module or "keras").split(".")[0]
        own = ">" in str(config.get("registered_name")) or package not in ("keras", "builtins")
        if own or kind in RUN_CODE:
            what = "code of its own" if own else "code"
            raise InputError(
                f"{path} needs {what} for {inside}, and loading a file never runs code from it: "
                "pass the function that builds the model, path/to/file.py:function"
            )
    for value in config.values():
        check_code(path, value, inside)


@dataclass(frozen=True)
class KerasFile:
    """A model in a ``.keras`` file, as a function that builds it."""

    path: Path

    def __call__(self, seed: int = 0) -> Any:
        """Has Keras build the model, with the weights of the file whatever the seed.

        Returns:
            A `keras.Model`; compiled if the file says how to train.

        Raises:
            InputError: the file is damaged or too large, or could run code.
        """
        # A compiled model's file also holds what its optimiser keeps of each weight.
        archive = opened(self.path, 4 * LARGEST)
        check_code(self.path, archive.config)
        check_arrays(archive)
        import keras

        try:
            return keras.saving.load_model(self.path, safe_mode=True)
        except Exception as error:  # Keras raises many kinds on a broken file.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise InputError(f"{self.path} cannot be loaded: {reason[:300]}") from error


def from_file(path: str | Path) -> KerasFile:
    """The function that builds the model in a ``.keras`` file, running no code from it.

    Raises:
        InputError: it is no ``.keras`` file. What is wrong inside shows when it is built.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected a .keras file")
    if path.suffix != ".keras":
        raise InputError(
            f"{path} is not a .keras file, and others (HDF5, pickle) are not read: load it where "
            "you trust it and save it with model.save('model.keras')"
        )
    return KerasFile(path)
