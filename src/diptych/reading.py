"""Reads files safely: pipes without a writer, endless devices and files that are too large are
refused."""

import os
import stat
from pathlib import Path

from diptych.errors import InputError

MOST_JSON_BYTES = 64 * 2**20
MOST_ARRAY_BYTES = 16 * 2**30


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Opens a regular file, and never waits for one that is something else.

    Args:
        path: the file, or a link to it.
        flags: as `os.open` takes them.

    Returns:
        A file descriptor.

    Raises:
        InputError: a folder, a named pipe, a device or a socket has the file's name.
        OSError: there is no such file, or it cannot be opened.
    """
    # Without O_NONBLOCK a named pipe keeps its reader waiting until somebody writes.
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except IsADirectoryError:
        raise InputError(f"{path}: a folder, expected a file") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise InputError(f"{path}: {_kind(mode)}, expected a file")


def read_regular(path: Path, most: int) -> bytes:
    """The contents of a regular file.

    Args:
        path: the file, or a link to it.
        most: the bytes that it may have; a larger one is not read.

    Raises:
        InputError: it is not there, it is no regular file, or it is too large.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            contents = b"" if size > most else file.read(size + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror or problem}") from None
    except (MemoryError, OverflowError):
        raise InputError(f"{path}: more bytes than there is memory for") from None
    if size > most:
        raise InputError(f"{path}: {size:,} bytes, expected at most {most:,}")
    if len(contents) > size:
        raise InputError(f"{path}: it grew while it was read; try again")
    return contents


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a socket"
