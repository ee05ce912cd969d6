"""Archives that may come from anywhere: how large they may be, and what they say of themselves."""

import json
import zipfile
from pathlib import Path
from typing import Any

from diptych.errors import InputError

LARGEST = 512 * 2**20
"""Bytes that a file may hold, unpacked, to be imported."""
EMBEDDED = "diptych.json"
"""The file, in formats that take files within files, in which an export of ours says what it is."""


def unzipped(path: Path, limit: int | None = None) -> zipfile.ZipFile:
    """An archive that is not larger, unpacked, than a network can be.

    Args:
        path: the archive.
        limit: bytes that it may hold, unpacked; `LARGEST` if not given.

    Raises:
        InputError: it is no archive, or it is larger.
    """
    limit = limit or LARGEST
    try:
        file = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise InputError(
            f"{path.name} is damaged, or not what its name says ({problem}): save it again"
        ) from None
    # No more is read of a member than its size in the archive's directory.
    size = sum(member.file_size for member in file.infolist())
    if size > limit:
        raise InputError(
            f"{path.name} would be {size / 2**20:,.0f} MiB unpacked; expected up to "
            f"{limit // 2**20}"
        )
    for member in file.infolist():
        if member.filename.endswith(".json") and member.file_size > limit // 16:
            raise InputError(
                f"{path.name}: {member.filename} would be {member.file_size / 2**20:,.0f} MiB "
                f"unpacked; expected up to {limit // 16 // 2**20}"
            )
    return file


def embedded(text: bytes | str | None) -> dict[str, Any]:
    """The description that an export of this package contains; empty if it is missing or cannot be
    read."""
    try:
        about = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
