"""SHA-256 checksums of a run's files of arrays, which ``run.json`` keeps.

A file and its checksum cannot be replaced at the same instant, and a process can be killed between
the two. So a new checksum is announced first, beside that of the file which is still there; then
the file is replaced. Whenever the process ends, the file has one of the checksums in the list.
"""

import hashlib
from pathlib import Path
from typing import Any

from diptych.errors import InputError

KEY = "sha256"
"""The key of the checksums in ``run.json``: a list per file, by its path in the run's folder."""


def checksum(contents: bytes) -> str:
    """The SHA-256 of a file's contents, 64 hexadecimal digits."""
    return hashlib.sha256(contents).hexdigest()


def announced(
    description: dict[str, Any], name: str, new: str, current: str | None
) -> dict[str, Any]:
    """The description of a run one of whose files is about to be replaced.

    Args:
        description: as in ``run.json``.
        name: the file's path in the run's folder.
        new: the checksum that it will have.
        current: the checksum that it has, or None where that is not known.
    """
    listed = description.get(KEY, {})
    before = [current] if current else listed.get(name, [])
    return description | {KEY: listed | {name: list(dict.fromkeys([new, *before]))}}


def check(path: Path, contents: bytes, description: dict[str, Any], name: str) -> str:
    """The checksum of a file that has been read, once it is known to be right.

    Raises:
        InputError: it is not among those in the description. A run that was made before runs had
            checksums has no list of them, and nothing is compared.
    """
    digest = checksum(contents)
    listed = description.get(KEY)
    if listed is None:
        return digest
    expected = listed.get(name) if isinstance(listed, dict) else None
    if not isinstance(expected, list) or not expected:
        raise InputError(f"{path}: run.json has no checksum of it ({KEY}); one of them is damaged")
    if digest not in expected:
        raise InputError(
            f"{path}: damaged or replaced, its SHA-256 is {digest[:16]}…, "
            f"expected {str(expected[0])[:16]}…; restore it, or train the run again"
        )
    return digest
