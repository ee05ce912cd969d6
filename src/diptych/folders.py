"""New folders for runs and comparisons."""

from pathlib import Path

from diptych.errors import InputError


def new_folder(root: Path, name: str) -> Path:
    """Makes ``name`` below ``root``, or ``name-2`` and so on: the first that is free.

    Raises:
        InputError: no folder can be made there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = root / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"runs folder {root}: a file is in its place, give another") from None
    except OSError as problem:
        raise InputError(f"runs folder {root}: {problem.strerror or problem}") from None
