"""The user's code, told from the libraries that it calls.

Finds the user's line behind a call or an error, says in one line what fails in their code, and
keeps what they print away.
"""

import contextlib
import functools
import io
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from diptych.errors import InputError

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnxruntime", "numpy")
"""Packages that may be installed in a place of their own, apart from Python's packages."""
PACKAGE = Path(__file__).resolve().parents[2]
"""This package. Its workflows are audited as a user's code is; the rest of it is a library."""
TYPED = ("<stdin>", "<ipython-input", "<python-input")
"""How the names of files begin that are what a user typed."""


@functools.cache
def is_users(file: str) -> bool:
    """Whether a source file is the user's: not Python's, not an installed package's, not ours."""
    if file.startswith("<"):
        return file.startswith(TYPED)
    paths = {Path(file), Path(file).resolve()}
    if any(path.is_relative_to(PACKAGE / "workflows") for path in paths):
        return True
    installed = ("stdlib", "platstdlib", "purelib", "platlib")
    origins = [getattr(sys.modules.get(name), "__file__", None) for name in FRAMEWORKS]
    folders = [
        *(Path(sysconfig.get_path(name)) for name in installed),
        *(Path(origin).parent for origin in origins if origin),
    ]
    libraries = {PACKAGE, *folders, *(folder.resolve() for folder in folders)}
    return not any(path.is_relative_to(library) for path in paths for library in libraries)


def user_line(frame: FrameType | None, made: object = None) -> str | None:
    """The innermost line of the user's code on the stack, as ``file.py:12``.

    Args:
        frame: where to start from, such as ``sys._getframe(1)``.
        made: an object whose own methods are passed over, to find who makes it.

    Returns:
        None where no line on the stack is the user's.
    """
    while frame is not None:
        own = made is not None and frame.f_locals.get("self") is made
        if not own and is_users(frame.f_code.co_filename):
            return place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def error_line(error: BaseException) -> str | None:
    """The innermost line of the user's code that an error came through, as ``file.py:12``."""
    line, traceback = None, error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if is_users(file):
            line = place(file, traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def place(file: str, line: int) -> str:
    """``file.py:12``, without the folder."""
    return f"{Path(file).name}:{line}"


def one_line(error: BaseException) -> str:
    """An error's type and message, or the first line of a message that has several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def listed(names: Iterable[object]) -> str:
    """Names as they are quoted in messages: `` `a`, `b` ``."""
    return ", ".join(f"`{name}`" for name in names)


@contextlib.contextmanager
def users_code(task: str) -> Iterator[None]:
    """Runs the user's code, and says in one line what fails in it and where.

    Args:
        task: the subject of the sentence, such as ``the loss``.

    Raises:
        InputError: the code raised an exception.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        line = error_line(error)
        where = f" ({line})" if line else ""
        raise InputError(f"{task} fails: {one_line(error)}{where}") from error


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drops what is printed meanwhile."""
    with contextlib.redirect_stdout(_Silent()), contextlib.redirect_stderr(_Silent()):
        yield


class _Silent(io.TextIOBase):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)
