"""The user's code, told from the libraries that it calls.

Finds the user's line behind a call or an error, says in one line what fails in their code, and
keeps what they print away.
"""

import contextlib
import functools
import inspect
import io
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from diptych.errors import InputError

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnxruntime", "numpy")
"""Packages that may be installed outside of Python's package folders."""
PACKAGE = Path(__file__).resolve().parents[2]
"""This package. Its workflows are audited as a user's code is; the rest of it is a library."""
TYPED = ("<stdin>", "<ipython-input", "<python-input")
"""The prefixes of file names that stand for code typed by a user."""


@functools.cache
def is_users(file: str) -> bool:
    """True if a source file is the user's: not Python's, not an installed package's, not ours."""
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
    """The innermost line of the user's code that an error came through, as ``file.py:12``.

    TensorFlow raises what fails in a traced function anew, and lists the lines in its message.
    """
    line = None
    for file, number in _frames(error):
        if is_users(file) and "__autograph_generated" not in file:
            line = place(file, number)
    for file, number in re.findall(r'File "([^"]+)", line ([0-9]+)', str(error)):
        if is_users(file) and "__autograph_generated" not in file:
            line = place(file, int(number))
    return line


def is_ours(error: BaseException) -> bool:
    """True if it was this program's own code that raised an error.

    A library's error counts as whose code called it last.
    """
    if is_raised_here(error):
        return True
    callers = [file for file, _ in _frames(error) if _is_own(file) or is_users(file)]
    called_here = bool(callers) and _is_own(callers[-1]) and error_line(error) is None
    return called_here and not takes_others(error)


def is_raised_here(error: BaseException) -> bool:
    """True if the line that raised an error is this program's own, not a library's."""
    files = [file for file, _ in _frames(error)]
    return bool(files) and _is_own(files[-1]) and not takes_others(error)


def takes_others(error: BaseException) -> bool:
    """True where an error says that a function of the user's was called with arguments that it does
    not take. Python raises it where the call stands, though the function is what is wrong."""
    calls = r"([\w.<>]+)\(\) (?:takes|missing|got an unexpected keyword|got multiple values)\b"
    called = re.match(calls, str(error)) if isinstance(error, TypeError) else None
    if not called:
        return False
    outermost = called[1].split(".")[0]
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE.name]
    return not any(hasattr(module, outermost) for module in ours)


def check_takes(function: Callable[..., Any], arguments: tuple[str, ...], name: str) -> None:
    """Checks that a user's function can be called with this number of arguments.

    Args:
        function: theirs.
        arguments: the names of what it is called with.
        name: what the function is called in messages.

    Raises:
        InputError: it takes others.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # Written in C, it does not say what it takes.
    try:
        signature.bind(*arguments)
    except TypeError:
        wanted = ", ".join(arguments)
        raise InputError(f"{name} takes {signature}: expected a function of ({wanted})") from None


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def _is_own(file: str) -> bool:
    return Path(file).is_relative_to(PACKAGE) and not is_users(file)


def place(file: str, line: int) -> str:
    """``file.py:12``, without the folder."""
    return f"{Path(file).name}:{line}"


def one_line(error: BaseException) -> str:
    """An error's type, and of its message the line that says what failed."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > 1 and lines[0] == "in user code:":  # Of TensorFlow: the lines, then the error.
        known = [line for line in lines if re.match(r"[A-Za-z_.]*(Error|Exception)\b", line)]
        return known[-1] if known else lines[-1]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):  # Of Keras.
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def worded(value: object, settings: dict[str, object]) -> str:
    """An object or a function as its user made it: ``HuberLoss(delta=10)``, ``dice (b.py:12)``.

    Args:
        value: the object or the function.
        settings: those of the object that count; what is no number, text or flag is left out.
    """
    code = getattr(value, "__code__", None)
    if code is not None:
        line = place(code.co_filename, code.co_firstlineno)
        return f"{getattr(value, '__name__', 'function')} ({line})"
    plain = {k: v for k, v in settings.items() if isinstance(v, bool | int | float | str)}
    inside = ", ".join(
        f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in plain.items()
    )
    return f"{type(value).__name__}({inside})"


def listed(names: Iterable[object]) -> str:
    """Names as they are quoted in messages: `` `a`, `b` ``."""
    return ", ".join(f"`{name}`" for name in names)


@contextlib.contextmanager
def users_code(task: str) -> Iterator[None]:
    """Runs the user's code, and says in one line what fails in it and where.

    Args:
        task: the subject of the sentence, such as ``the loss``.

    Raises:
        InputError: the code raised an exception. One that this program itself raised passes.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_raised_here(error):
            raise  # A fault of ours, such as in a hook that watches the user's code.
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
