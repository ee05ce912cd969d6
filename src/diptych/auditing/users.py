"""Code that may be the user's: what it prints goes nowhere, what it raises becomes one line."""

import contextlib
import io
import traceback
from collections.abc import Iterator
from pathlib import Path

from diptych.errors import InputError

LONGEST = 400
"""Characters of a message that are shown."""
file = ""
"""The user's file, by whose lines a failure is placed."""


@contextlib.contextmanager
def code() -> Iterator[None]:
    """Around calls into code that may be the user's.

    Raises:
        InputError: the code raised something; it says what, and in which line of the user's file.
    """
    try:
        with contextlib.redirect_stdout(_Silent()), contextlib.redirect_stderr(_Silent()):
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as problem:
        if isinstance(problem, MemoryError):
            raise InputError("it needs more memory than there is") from None
        # The last line of it: a SyntaxError's has the code above.
        what = " ".join(traceback.format_exception_only(problem)[-1].split())
        raise InputError(f"{_line(problem)}{what[:LONGEST]}") from problem


class _Silent(io.TextIOBase):
    """Takes whatever is printed, and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


def _line(problem: BaseException) -> str:
    """``file.py line 12: `` for the innermost line of the user's file, if it was in there."""
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{Path(problem.filename).name} line {problem.lineno}: "
    lines = [each for each in traceback.extract_tb(problem.__traceback__) if each.filename == file]
    return f"{Path(file).name} line {lines[-1].lineno}: " if lines else ""
