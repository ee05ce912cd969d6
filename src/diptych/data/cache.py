"""The folder of downloaded and converted data: the user's cache folder, or ``DIPTYCH_CACHE``."""

import os
from pathlib import Path

from diptych.errors import InputError


def cache_path(*below: str) -> Path:
    """A path below the cache, whether it is there or not."""
    import platformdirs

    root = os.environ.get("DIPTYCH_CACHE") or platformdirs.user_cache_dir("diptych")
    return Path(root).absolute().joinpath(*below)


def cache_folder(*below: str) -> Path:
    """A folder below the cache, made if it is not there.

    Raises:
        InputError: it cannot be made.
    """
    folder = cache_path(*below)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error for a cache that cannot be written to."""
    return InputError(
        f"the cache folder {folder} cannot be written to ({error.strerror or error}); set "
        "DIPTYCH_CACHE to a folder with room"
    )
