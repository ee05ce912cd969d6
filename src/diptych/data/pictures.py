"""Opening pictures that come from anywhere: safely, upright, and as grey or colour arrays."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from diptych.data.sizes import MOST_PIXELS
from diptych.errors import InputError
from diptych.reading import open_regular

# No format that runs another program (EPS) or is only a stub. MPO, what phones write, is a JPEG.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".bmp",
        ".dib",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
MOST_BYTES = 256 * 2**20

READS, BYTES_PER_READ = 20_000, 256
"""Reads that decoding may take: so many, and one for so many of the file's bytes."""
STRIP = 2**20
"""Pixels that are converted at a time."""
MACOSX = "__MACOSX"
"""The folder in macOS' archives with a copy of all folders, whose files only look like pictures."""
EXIF_ORIENTATION = 0x0112
BLACK, WHITE = 0.0, 255.0


def read_images(
    paths: Iterable[str | os.PathLike[str]],
) -> Iterator[tuple[str, Image.Image]]:
    """Open pictures one after the other.

    Args:
        paths: picture files; folders, for all pictures in them and below, in natural order, hidden
            files left out; and ``-`` for one picture from standard input.

    Yields:
        A name (the path, or ``-``) and the picture, decoded and upright.

    Raises:
        InputError: a path that does not exist, a folder without pictures, or a picture that is
            unreadable, empty or too large.
    """
    for name, source in find_pictures(paths):
        yield name, open_source(name, source)


def find_pictures(
    paths: Iterable[str | os.PathLike[str]],
) -> Iterator[tuple[str, Path | bytes]]:
    """A name and a file, or a file's contents, for each picture that `read_images` would open.

    Raises:
        InputError: a path that does not exist, a folder without pictures, or nothing comes from
            standard input.
    """
    for path in paths:
        if os.fspath(path) == "-":
            yield "-", _standard_input()
        else:
            yield from ((str(file), file) for file in _expand(Path(path)))


def open_source(name: str, source: Path | bytes) -> Image.Image:
    """The picture that `find_pictures` found, decoded and upright; InputError as `open_picture`."""
    with _quiet():
        return open_picture(source, "standard input" if name == "-" else "")


def open_picture(source: Path | bytes, name: str = "") -> Image.Image:
    """Decode a picture (the first of several) and turn it as its EXIF orientation says.

    Args:
        source: a file, or a file's contents.
        name: what to call it in errors; the path if empty.

    Raises:
        InputError: unreadable, truncated, zero-sized or beyond 64 million pixels.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    with _one_line(name), opened(source, name) as image:
        _check_size(image, name)
        image.load()
        return ImageOps.exif_transpose(image)


def peek(path: Path) -> tuple[tuple[int, int], bool]:
    """The size (width, height) and whether it has colour, from the picture's header alone.

    Raises:
        InputError: as ``open_picture``, as far as the header shows it.
    """
    with _quiet(), _one_line(str(path)), opened(path, str(path)) as image:
        _check_size(image, str(path))
        width, height = image.size
        # The orientation of other formats is found only by decoding the picture.
        if image.format in ("JPEG", "MPO", "TIFF") and image.getexif().get(EXIF_ORIENTATION, 1) > 4:
            width, height = height, width
        return (width, height), has_colour(image)


def has_colour(image: Image.Image) -> bool:
    """True if the picture's form can hold colour; a palette of greys cannot."""
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return bool((palette != palette[:, :1]).any())
    return image.mode not in ("1", "L", "LA", "La", "I", "F") and not image.mode.startswith("I;16")


def plain(image: Image.Image) -> Image.Image:
    """The picture in one of five modes: L, LA, RGB, RGBA, or F (0 to 255) for deeper greys.

    Greys of 16 bits are scaled to 0 to 255; so are 32-bit whole numbers if any is beyond 255, and
    floating-point numbers if all are within 0 to 1.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=WHITE, neginf=BLACK)
        if image.mode.startswith("I;16") or (image.mode == "I" and grey.max() > WHITE):
            grey /= np.float32(257)
        elif image.mode == "F" and grey.min() >= 0 and grey.max() <= 1:
            grey *= np.float32(WHITE)
        return Image.fromarray(grey.clip(BLACK, WHITE))
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    mode = "RGB" if has_colour(image) else "L"
    if image.has_transparency_data:
        mode += "A"
    return image if image.mode == mode else image.convert(mode)


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture in another size (width, height), its proportions not kept, by cubic
    interpolation over the pixels that each new one covers; in one of the modes of `plain`."""
    image = plain(image)
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def to_array(image: Image.Image, channels: int, background: float = WHITE) -> np.ndarray:
    """A picture of any mode as ``(height, width, channels)`` float32, 0 to 255.

    Args:
        image: the picture.
        channels: 1 (grey; colours by the luma of ITU-R 601), 3 (red, green, blue) or 4 (and alpha).
        background: the grey behind transparent parts, where channels is 1 or 3.
    """
    image = plain(image)
    if channels == 4:
        return np.asarray(image.convert("RGBA"), np.float32)
    pixels = np.asarray(image, np.float32)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if image.mode in ("LA", "RGBA"):
        opacity = pixels[..., -1:] / np.float32(WHITE)
        pixels = pixels[..., :-1] * opacity + np.float32(background) * (1 - opacity)
    if pixels.shape[2] == 3 and channels == 1:
        pixels = pixels @ np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.broadcast_to(pixels, (*pixels.shape[:2], channels))


def to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 255 rounded to uint8, out-of-range ones clipped."""
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def to_uint8(image: Image.Image, channels: int) -> np.ndarray:
    """A picture of any mode as ``(height, width, channels)`` uint8, as `to_array` and `to_bytes`
    give it, with little more memory than that takes."""
    image = plain(image)
    if (image.mode, channels) in (("L", 1), ("RGB", 3)):
        return np.asarray(image).reshape(image.height, image.width, channels)
    if image.mode == "F":  # What its numbers mean depends on all of them, and `plain` has seen to.
        grey = to_bytes(np.asarray(image))[..., np.newaxis]
        return np.broadcast_to(grey, (*grey.shape[:2], channels))
    pixels = np.empty((image.height, image.width, channels), np.uint8)
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = to_bytes(to_array(strip, channels))
    return pixels


def to_png(pixels: np.ndarray) -> bytes:
    """uint8 (height, width, channels) as a PNG file; of channels that no picture has, the mean."""
    if pixels.shape[2] not in (1, 3, 4):
        pixels = to_bytes(pixels.mean(axis=2, keepdims=True))
    contents = BytesIO()
    grey = pixels.shape[2] == 1
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels)).save(contents, "PNG")
    return contents.getvalue()


def is_hidden(name: str) -> bool:
    """True if a file or folder name is one that people do not mean (``.DS_Store``, ``._x.png``)."""
    return name.startswith(".") or name == MACOSX


def natural_order(name: str) -> tuple[bool, int, str]:
    """A sorting key that puts whole numbers before other names, and 2 before 10."""
    stem = name.partition(".")[0]
    is_number = stem.isascii() and stem.isdecimal() and len(stem) < 100
    return not is_number, int(stem) if is_number else 0, name


def pictures_below(folder: Path) -> list[Path]:
    """All picture files in a folder and below, by their suffix, in natural order, none hidden."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not is_hidden(name)), key=natural_order)
        found += [
            Path(parent, file)
            for file in sorted(files, key=natural_order)
            if not is_hidden(file) and Path(file).suffix.lower() in SUFFIXES
        ]
    return found


def _expand(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            files = pictures_below(path)
            if not files:
                raise InputError(
                    f"the folder {path} holds no pictures ({', '.join(sorted(SUFFIXES))})"
                )
            return files
        if path.exists():
            return [path]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    raise InputError(f"no file or folder {path}; give pictures, folders of pictures, or -")


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal, expected a picture; add < picture.png")
    contents = sys.stdin.buffer.read(MOST_BYTES + 1)
    if not contents:
        raise InputError("standard input is empty, expected one picture (PNG, JPEG or the like)")
    return contents


class Metered:
    """A file that a decoder reads, and that ends the reading of one that is made to take long.

    Decoders read comments byte by byte, and pass over empty blocks one by one: a few megabytes keep
    them busy for seconds, in Python, where nothing else runs. No real picture takes so many reads.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, READS + size // BYTES_PER_READ

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("comments or empty blocks without end; save it again")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def opened(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The picture with its header read, nothing decoded yet."""
    with (
        contextlib.closing(_metered(source, name)) as file,
        Image.open(cast(BinaryIO, file), formats=FORMATS) as image,
    ):
        yield image


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if not width * height:
        raise InputError(f"{name} has no pixels: it is {width}x{height}")
    if width * height > MOST_PIXELS:
        raise InputError(_too_large(name, f"{width}x{height} pixels"))


def _metered(source: Path | bytes, name: str) -> Metered:
    if isinstance(source, bytes):
        file, size = BytesIO(source), len(source)
    else:
        file = os.fdopen(open_regular(source), "rb")
        size = os.fstat(file.fileno()).st_size
    if size > MOST_BYTES:
        file.close()
        raise InputError(f"{name} has more than {MOST_BYTES:,} bytes; make the picture smaller")
    return Metered(file, size)


def _too_large(name: str, what: str) -> str:
    return f"{name} has {what}; pictures may have {MOST_PIXELS:,}, so scale it down first"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings (of bombs, which are refused in one line, or of odd metadata)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(_too_large(name, "far too many pixels")) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is not a picture, or not one of {', '.join(FORMATS)}; save it as PNG"
        ) from error
    # Decoders meet damaged files with every kind of exception there is.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read as a picture: {reason}") from error
