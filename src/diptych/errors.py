"""The one error that people cause and can fix, and the command that fixes it."""

import shlex
import shutil
import sys
from pathlib import Path


class InputError(ValueError):
    """What was asked for cannot be done as asked.

    The message is one line: what was given, what was expected, where, and how to fix it.
    The command line prints it alone and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def command(*arguments: object) -> str:
    """The command line with these arguments, in backquotes, as this person can call it."""
    # `make compare` calls a program in .venv/bin, which need not be on the path.
    called = Path(sys.argv[0] if sys.argv else "")
    program = str(called) if called.name == "diptych" and not shutil.which("diptych") else "diptych"
    return f"`{shlex.join([program, *map(str, arguments)])}`"
