"""The errors that people can fix, in one line, and the command that fixes them."""

import errno
import os
import shlex
import shutil
import sys
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, the user's share of it is, or a file is larger than it may be."""

NO_MEMORY = ("can't start new thread", "failed to map segment", os.strerror(errno.ENOMEM))
"""The messages of the interpreter, the loader of libraries and the system for too little memory."""


class InputError(ValueError):
    """A request that cannot be carried out.

    The message is one line: what was given, what was expected, where, and how to fix it. The
    command line prints only this line and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def explained(problem: BaseException | None) -> InputError | None:
    """The problem in one line, if the system refused what the user requested; else None.

    That is a path that cannot be used, a full disk, or too little memory. For the last two,
    libraries raise their own errors, which quote the system's error or have it as their cause.
    """
    at: BaseException | None = problem
    while at is not None:
        if line := _resources(at):
            return InputError(line)
        at = at.__cause__ or at.__context__
    if isinstance(problem, OSError) and problem.filename is not None and problem.errno:
        return InputError(f"{os.fsdecode(problem.filename)}: {os.strerror(problem.errno)}")
    return None


def _resources(problem: BaseException) -> str:
    said = " ".join(str(problem).split())
    number = problem.errno if isinstance(problem, OSError) else None
    if full := [code for code in FULL if code == number or os.strerror(code) in said]:
        name = problem.filename if isinstance(problem, OSError) else None
        where = "" if name is None else f"{os.fsdecode(name)}: "
        return f"{where}{os.strerror(full[0])}; make room, then try again"
    if isinstance(problem, MemoryError) or any(words in said for words in NO_MEMORY):
        reason = said[:200] or "no more could be had"
        return f"too little memory: {reason}; see ulimit -v, or use a larger machine"
    return ""


def command(*arguments: object) -> str:
    """The command line with these arguments, in backquotes, as this person can call it."""
    # `make compare` calls a program in .venv/bin, which need not be on the path.
    called = Path(sys.argv[0] if sys.argv else "")
    program = str(called) if called.name == "diptych" and not shutil.which("diptych") else "diptych"
    return f"`{shlex.join([program, *map(str, arguments)])}`"
