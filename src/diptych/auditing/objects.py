"""Sides that are functions or objects of this process, as in a notebook or a test.

A function that its file defines by name is built in a separate process, like ``FILE.py:FUNCTION``.
Other functions are called in this process, and objects are copied in it.
"""

import copy
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.auditing import jobs, opening
from diptych.auditing.recorded import Recorded
from diptych.auditing.spec import BACKENDS, Spec, elsewhere, of_file, parse
from diptych.errors import InputError
from diptych.transport import Arrays
from diptych.worker import Job, WorkerError

Build = Callable[[int], Any]
FUNCTION = "hand in the function that builds it, and the audit calls it for each copy"
ONE_AT_A_TIME = threading.RLock()
"""The lock for settings of the whole process, which a float64 twin changes for a while."""


class Here:
    """Runs the jobs of a side in this process; see `diptych.worker.Worker`."""

    def __init__(self, build: Build) -> None:
        self.opened = jobs.Opened(build)

    def call(
        self,
        job: Job,
        parameters: dict[str, Any],
        arrays: Arrays | None = None,
        report: Callable[[dict[str, Any]], None] = lambda _: None,
        limit: float | None = None,
        stops: bool = True,
    ) -> tuple[dict[str, Any], Arrays]:
        """Runs one of `diptych.auditing.jobs`; the time limit is not enforced here."""
        with ONE_AT_A_TIME:
            before, file = jobs.opened, opening.file
            jobs.opened, opening.file = self.opened, ""
            try:
                answer, result = job(parameters, arrays or {}, report, lambda: False)
            except InputError:
                raise
            except Exception as problem:
                what = f"{type(problem).__name__}: {problem}".splitlines()[0]
                raise WorkerError(what) from problem
            finally:
                jobs.opened, opening.file = before, file
        return answer, {name: value.copy() for name, value in result.items()}

    def close(self) -> None:
        """Releases the side's objects."""
        self.opened = jobs.Opened(None)


def named(side: Any, command: str = "") -> tuple[Spec, Callable[[], Any] | None]:
    """A side's specification, and what makes its worker where that is no process.

    Args:
        side: what `diptych.auditing.spec.parse` takes, a function without arguments, or what such a
            function returns.
        command: what starts a Python somewhere else, where the side is.

    Raises:
        InputError: it is none of them, or the objects cannot be copied.
    """
    if command:
        return elsewhere(str(side), command), None
    if isinstance(side, str | Path):
        spec = parse(str(side))
        recorded = spec.form == "recorded"
        return spec, functools.partial(Recorded, Path(spec.where)) if recorded else None
    if not (inspect.isroutine(side) or isinstance(side, functools.partial)):
        return Spec(_words(side), "objects", ""), functools.partial(Here, copies(side))
    name = getattr(side, "__name__", "a function")
    file = _file_of(side)
    if file is None:
        return Spec(name, "objects", ""), functools.partial(Here, lambda seed: _plain(side()))
    spec = of_file(f"{_relative(file)}:{name}", file, name, _backend())
    paths = tuple(str(Path(path).absolute()) for path in sys.path)
    return replace(spec, paths=(*spec.paths, *paths)), None


def _plain(objects: Any) -> Any:
    """A tuple in place of a list."""
    return tuple(objects) if isinstance(objects, list) else objects


def _file_of(function: Any) -> Path | None:
    """The file that defines a function by name; None if other processes could not find it."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not inspect.isfunction(function) or function.__qualname__ != function.__name__:
        return None
    if getattr(module, function.__name__, None) is not function:
        return None
    file = getattr(module, "__file__", None)
    return Path(file).absolute() if file and file.endswith(".py") else None


def _relative(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _backend() -> str:
    """Keras' backend in this process."""
    keras = sys.modules.get("keras")
    name = keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND", "")
    return name if name in BACKENDS else BACKENDS[0]


def copies(objects: Any) -> Build:
    """A function that copies existing objects.

    The copies have the state of the objects at the time of this call. The audit does not change the
    user's objects.

    Raises:
        InputError: they cannot be copied, or a copy would lack what drives their training.
    """
    objects = _plain(objects)
    items = objects if isinstance(objects, tuple) else (objects,)
    for item in items:
        _check_whole(item, items)
    original = _copy(objects)

    def build(seed: int) -> Any:
        return _copy(original)

    build.fixed = True  # pyright: ignore[reportFunctionMemberAccess]
    return build


def _copy(objects: Any) -> Any:
    try:
        return copy.deepcopy(objects)
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise InputError(f"{_words(objects)} cannot be copied ({what}): {FUNCTION}") from problem


def _check_whole(item: Any, items: tuple[Any, ...]) -> None:
    """Raises InputError if a copy of an object would still refer to the original objects."""
    step = getattr(item, "step", None)
    if getattr(step, "_wrapped_by_lr_sched", False):
        raise InputError(
            f"a learning-rate scheduler drives the {type(item).__name__}, and is not handed in: "
            f"{FUNCTION}"
        )
    for function in item.values() if isinstance(item, dict) else (item,):
        if not callable(function):
            continue
        held = [*_closure(function), getattr(function, "__self__", None)]
        if any(value is other for value in held for other in items if other is not item):
            raise InputError(
                f"{getattr(function, '__name__', 'a function')} holds on to the model or the "
                f"optimizer, and a copy of them would be trained in their place: {FUNCTION}"
            )


def _closure(function: Callable[..., Any]) -> list[Any]:
    """The objects that a function refers to from its enclosing scope."""
    if not inspect.isfunction(function):
        return []
    return list(inspect.getclosurevars(function).nonlocals.values())


def _words(side: Any) -> str:
    items = side if isinstance(side, tuple | list) else (side,)
    return ", ".join(getattr(item, "__name__", type(item).__name__) for item in items)
