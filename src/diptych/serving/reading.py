"""From a request's body to images that a network takes."""

import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from diptych.data.drawing import prepare_image
from diptych.data.pictures import open_picture, opened
from diptych.errors import InputError
from diptych.serving.guard import Refused
from diptych.serving.models import Model
from diptych.serving.settings import Settings


def from_arrays(value: Any, model: Model, settings: Settings) -> np.ndarray:
    """JSON arrays of pixels from 0 to 255, one image or several, as they are.

    Returns:
        uint8 (n, height, width, channels).

    Raises:
        Refused: not numbers, of another shape, out of range, or too many.
    """
    height, width, channels = shape = model.network.input_shape
    expected = f"{height}×{width}" + (f"×{channels}" if channels > 1 else "")
    try:
        array = np.array(value)
    except ValueError:  # Arrays of unequal lengths, or nested too deep.
        array = np.array("")
    if array.dtype.kind not in "iuf":
        raise Refused(422, f"images: expected arrays of numbers, {expected} each, one or several")
    shapes = [shape] if channels > 1 else [shape, (height, width)]
    if array.shape in shapes:
        array = array[None]
    if array.shape[1:] not in shapes:
        given = "×".join(map(str, array.shape)) or "a single number"
        if array.ndim > 4:
            given = f"{array.ndim} dimensions"
        raise Refused(422, f"images: given {given}, expected {expected}, or several of these")
    _check_count(len(array), settings)
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
        raise Refused(422, "images: expected pixels from 0 to 255, black to white")
    return np.round(array).astype(np.uint8).reshape(-1, *shape)


def from_files(files: list[tuple[str, bytes]], model: Model, settings: Settings) -> np.ndarray:
    """Picture files, put into the form of the network's data as `diptych predict` does.

    Returns:
        uint8 (n, height, width, channels).

    Raises:
        Refused: not a picture, damaged, too large, blank, or too many.
    """
    _check_count(len(files), settings)
    pixels = 0
    for name, contents in files:
        width, height = _size(name, contents)
        if pixels + width * height > settings.most_pixels:
            others = f", and {pixels:,} in those before it" if pixels else ""
            raise Refused(
                413,
                f"{name}: {width:,}×{height:,} pixels{others}; expected at most "
                f"{settings.most_pixels:,} in a request, so scale down or send fewer",
            )
        pixels += width * height
    return np.stack([_from_file(name, contents, model) for name, contents in files])


def _size(name: str, contents: bytes) -> tuple[int, int]:
    """A picture's width and height, by its header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused here anyway.
            with opened(contents, name) as image:
                return image.size
    except Image.DecompressionBombError:
        raise Refused(413, f"{name}: far too many pixels; scale it down first") from None
    except UnidentifiedImageError:
        raise Refused(415, f"{name}: not a picture; PNG, JPEG and others are read") from None
    except Exception as problem:  # Decoders meet damaged files with every kind there is.
        raise Refused(422, f"{name}: {_line(problem)}") from None


def _from_file(name: str, contents: bytes, model: Model) -> np.ndarray:
    try:
        picture = open_picture(contents, name)
        return prepare_image(picture, model.network.input_shape, model.data_name)
    except InputError as problem:
        said = _line(problem)
        raise Refused(422, said if said.startswith(name) else f"{name}: {said}") from None


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _check_count(count: int, settings: Settings) -> None:
    if not 1 <= count <= settings.most_images:
        raise Refused(422, f"images: given {count}, expected 1 to {settings.most_images}")
