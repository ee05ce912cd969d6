"""The size that a folder's pictures are scaled to, as part of the data's source: ``FOLDER@64x48``.

A source is all that a run keeps of its data, so the size has to be in it.
"""

import os
import re

from diptych.errors import InputError

# A picture of 64 million pixels is 8,000 by 8,000. Pillow itself warns from 89 million on.
MOST_PIXELS = 64_000_000
Size = tuple[int, int]
"""Width and height in pixels, as Pillow has them."""

SUFFIX = re.compile(r"(?s)(.+)@(\d{1,9})x(\d{1,9})")


def with_size(source: str | os.PathLike[str], size: int | Size | str | None) -> str:
    """The source of the same folder with its pictures scaled.

    Args:
        source: a folder.
        size: width and height, or one number for both; ``"64"`` and ``"64x48"`` are such. None
            leaves the source as it is.

    Raises:
        InputError: the size is none, or has no pixels or too many.
    """
    if size is None:
        return os.fspath(source)
    width, height = parsed(size)
    return f"{os.fspath(source)}@{width}x{height}"


def without_size(source: str) -> tuple[str, Size | None]:
    """The folder and the size of a source that `with_size` wrote; None where it has no size."""
    match = SUFFIX.fullmatch(source)
    return (match[1], parsed((int(match[2]), int(match[3])))) if match else (source, None)


def parsed(size: int | Size | str) -> Size:
    """Width and height; see `with_size`."""
    if isinstance(size, str):
        match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", size)
        if not match:
            raise InputError(f"size {size}: expected a number of pixels, or WIDTHxHEIGHT")
        width, height = int(match[1]), int(match[2] or match[1])
    else:
        width, height = (size, size) if isinstance(size, int) else size
    if not 0 < width * height <= MOST_PIXELS or width < 0:
        raise InputError(
            f"size {width}x{height}: expected between 1 and {MOST_PIXELS:,} pixels in all"
        )
    return width, height
