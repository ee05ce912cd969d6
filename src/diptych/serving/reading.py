"""From a request's body to images that a network takes."""

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from diptych.data.drawing import prepare_image
from diptych.data.pictures import open_picture
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
        array = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Refused(
            422, f"images: expected arrays of numbers, {expected} each, one or several"
        ) from None
    shapes = [shape] if channels > 1 else [shape, (height, width)]
    if array.shape in shapes:
        array = array[None]
    if array.shape[1:] not in shapes:
        given = "×".join(map(str, array.shape)) or "a single number"
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
    return np.stack([_from_file(name, contents, model, settings) for name, contents in files])


def _from_file(name: str, contents: bytes, model: Model, settings: Settings) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused here anyway.
            with Image.open(io.BytesIO(contents)) as image:
                pixels = image.width * image.height
            if pixels > settings.most_pixels:
                raise Refused(
                    413,
                    f"{name}: {image.width:,}×{image.height:,} pixels, expected at most "
                    f"{settings.most_pixels:,} in all",
                )
            picture = open_picture(contents, name)
            return prepare_image(picture, model.network.input_shape, model.data_name)
    except Image.DecompressionBombError:
        raise Refused(413, f"{name}: far more pixels than {settings.most_pixels:,}") from None
    except UnidentifiedImageError:
        raise Refused(415, f"{name}: not a picture; PNG, JPEG and others are read") from None
    except (InputError, OSError, SyntaxError, ValueError) as problem:
        raise Refused(422, f"{name}: {' '.join(str(problem).split())}") from None


def _check_count(count: int, settings: Settings) -> None:
    if not 1 <= count <= settings.most_images:
        raise Refused(422, f"images: given {count}, expected 1 to {settings.most_images}")
