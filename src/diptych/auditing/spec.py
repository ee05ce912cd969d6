"""Specifications of a side of an audit, and their parsing. Nothing is imported or run."""

import ast
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.errors import InputError

BACKENDS = ("tensorflow", "torch", "jax")
FORMS = (
    "WORKFLOW:NETWORK (such as keras:article), a run's folder, a .keras or .onnx file, a .diptych "
    "file of `diptych record`, FILE.py:FUNCTION, or package.module:FUNCTION"
)
RECORDED = ".diptych"
"""The suffix of files of `diptych record`."""
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Spec:
    """The parsed specification of a side."""

    given: str
    form: str
    """``workflow``, ``run``, ``keras``, ``onnx``, ``file``, ``recorded``, or ``objects`` of this
    process."""
    where: str
    """The workflow's name, the folder, or the file."""
    name: str = ""
    """The network or the function."""
    backend: str = "tensorflow"
    """The backend, for Keras."""
    paths: tuple[str, ...] = ()
    """The folders that the file's imports are looked up in, besides its own."""
    module: str = ""
    """The name to import the file by, if it is a module of a package."""
    python: str = ""
    """The Python to run the side in, if it is not this one."""
    command: str = ""
    """The command that starts a Python elsewhere to run the side in, such as ``ssh host python``.
    """
    compiled: bool = False
    """True if the returned model is to be compiled by its framework."""
    arithmetic: str = ""
    """The arithmetic to audit a run or a workflow in, if not its own."""


def elsewhere(given: str, command: str) -> Spec:
    """A side in a Python that a command starts; its file is on that machine and not checked here.

    Raises:
        InputError: it is not ``FILE.py:FUNCTION``.
    """
    file, _, function = given.rpartition(":")
    if not file.endswith(".py") or not function:
        raise InputError(f"{given}: in a Python somewhere else a side is FILE.py:FUNCTION")
    backend = BACKENDS[0]
    for name in BACKENDS:
        if function.endswith(f"@{name}"):
            function, backend = function.removesuffix(f"@{name}"), name
    return Spec(given, "file", file, function, backend, command=command)


def parse(given: str) -> Spec:
    """Parses the specification of a side, without running or importing anything.

    Raises:
        InputError: it is none of `FORMS`, or names what is not there.
    """
    # Not at the top: the process of a side imports this module, and has no pydantic.
    from diptych import zoo
    from diptych.workflows import registry

    text, python = _without_python(given)
    backend = "tensorflow"
    for name in BACKENDS:  # keras@torch:article, model.keras@jax
        if f"@{name}" in text:
            text, backend = text.replace(f"@{name}", "", 1), name
    path = Path(text)
    if path.suffix in (".keras", ".onnx"):
        if not path.is_file():
            raise InputError(f"{given}: no such file")
        return Spec(given, path.suffix[1:], str(path.absolute()), backend=backend)
    if path.suffix == RECORDED:
        if not path.is_file():
            raise InputError(f"{given}: no such file")
        return Spec(given, "recorded", str(path.absolute()))
    if path.suffix in (".h5", ".hdf5", ".pt", ".pth", ".pb", ".tflite"):
        raise InputError(
            f"{given}: a {path.suffix} file cannot be audited; expected {FORMS} (for weights in "
            f"other files, write a function that builds the model and loads them)"
        )
    file, _, function = text.rpartition(":")
    if file.endswith(".py"):
        if not Path(file).is_file():
            raise InputError(f"{given}: no file {file}")
        return of_file(given, Path(file), function, backend, python)
    if python:
        raise InputError(f"{given}: only FILE.py:FUNCTION@PYTHON has a Python of its own")
    if path.suffix == ".py":
        raise InputError(f"{given}: which function? Expected {given}:FUNCTION")
    if (path / "run.json").is_file():
        return _of_run(given, path)
    if (Path("runs") / path / "run.json").is_file():
        return _of_run(given, Path("runs") / path)
    name, _, network = given.rpartition(":")
    module = None if name in registry.NAMES else _module(file)
    if module:
        return _of_module(given, file, module, function, backend)
    if name:
        name = registry.check(name)
        zoo.read("networks", network)
        return Spec(given, "workflow", name, network, registry.backend(name))
    raise InputError(f"{given}: nothing of that name; expected {FORMS}")


def compiled(spec: Spec) -> Spec:
    """The same side, compiled.

    Raises:
        InputError: it is not a user's function.
    """
    if spec.form != "file":
        raise InputError(f"{spec.given}: cannot be compiled; expected FILE.py:FUNCTION")
    return replace(spec, given=f"{spec.given}, compiled", compiled=True)


def _without_python(given: str) -> tuple[str, str]:
    """Splits off a ``@/path/to/python`` at the end."""
    text, _, python = given.rpartition("@")
    if os.sep not in python or ":" not in text:
        return given, ""
    path = Path(python).expanduser().absolute()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise InputError(
            f"{given}: {python} is no program; expected a Python such as venv/bin/python"
        )
    return text, str(path)


def of_file(given: str, file: Path, function: str, backend: str, python: str = "") -> Spec:
    """A function of a file; the file is a module of its package if it imports from there."""
    path, module, paths = file.absolute(), "", ()
    if _imports_relatively(path):
        folder, names = path.parent, [path.stem]
        while (folder / "__init__.py").is_file():
            names.insert(0, folder.name)
            folder = folder.parent
        if len(names) == 1:
            raise InputError(
                f"{given}: {file.name} has relative imports and its folder is no package; expected "
                f"an __init__.py in {file.parent}"
            )
        module, paths = ".".join(names), (str(folder),)
    return Spec(given, "file", str(path), function, backend, paths, module, python)


def _imports_relatively(file: Path) -> bool:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return False  # Opening the side says so, with the line.
    return any(isinstance(node, ast.ImportFrom) and node.level for node in tree.body)


def _module(name: str) -> tuple[Path, Path] | None:
    """Finds the file of a module and the folder to import it from, without importing anything."""
    if not MODULE.fullmatch(name):
        return None
    for folder in map(Path, ["", *sys.path]):
        part = folder.joinpath(*name.split("."))
        for file in (part.with_name(f"{part.name}.py"), part / "__init__.py"):
            if file.is_file():
                return file.absolute(), folder.absolute()
    return None


def _of_module(
    given: str, name: str, place: tuple[Path, Path], function: str, backend: str
) -> Spec:
    file, folder = place
    return Spec(given, "file", str(file), function, backend, (str(folder),), name)


def _of_run(given: str, folder: Path) -> Spec:
    from diptych.runs import Run
    from diptych.workflows import registry

    run = Run.open(folder)
    backend = registry.backend(registry.check(run.workflow))
    return Spec(given, "run", str(folder.absolute()), backend=backend)
