"""The image that a picture is about: a file, or one of the run's own test images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.data import Data, load_data
from diptych.data.drawing import prepare_image
from diptych.data.pictures import read_images
from diptych.errors import InputError
from diptych.runs import Run

TEST = "test:"


@dataclass(frozen=True)
class Shown:
    """An image in the form of a network's input."""

    pixels: np.ndarray
    """uint8 (height, width, channels)."""
    name: str
    label: str | None = None
    """Its class's name, where it is a test image."""


def opened(run: Run | str | Path) -> Run:
    """The run itself, or the one in that folder."""
    return run if isinstance(run, Run) else Run.open(run)


def data_of(run: Run) -> Data:
    """The data that a run was made for.

    Raises:
        InputError: they are not there any more, or have changed.
    """
    data = load_data(run.description()["data"]["source"])
    run.check_data(data)
    return data


def image_for(run: Run, image: str | Path | np.ndarray) -> Shown:
    """An image for a run's network.

    Args:
        run: whose network and data say what form the image gets.
        image: a picture's file, ``test:N`` for the test image with that number, or pixels that have
            the form already, uint8 (height, width, channels).

    Raises:
        InputError: there is no such picture or number, or the pixels are of another shape.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.shape != run.network.input_shape:
            raise InputError(
                f"image: given {image.dtype} {image.shape}, expected uint8 "
                f"{run.network.input_shape}"
            )
        return Shown(image, "image")
    given = str(image)
    if given.startswith(TEST):
        return _test_image(run, given)
    if Path(given).is_dir():
        raise InputError(f"{given} is a folder, expected one picture, or {TEST}N for a test image")
    try:
        [(name, picture)] = read_images([given])
    except InputError as problem:
        number = f"; {TEST}{given} is the test image of that number" if given.isdecimal() else ""
        raise InputError(f"{problem}{number}") from None
    description = run.description()["data"]
    try:
        pixels = prepare_image(picture, run.network.input_shape, description["name"])
    except InputError as problem:
        raise InputError(f"{name}: {problem}") from None
    return Shown(pixels, "standard input" if name == "-" else Path(name).name)


def _test_image(run: Run, given: str) -> Shown:
    data = data_of(run)
    text = given.removeprefix(TEST)
    if not (text.isascii() and text.isdecimal()) or int(text) >= len(data.test):
        raise InputError(
            f"{given}: expected {TEST} and a number from 0 to {len(data.test) - 1}, "
            f"as data {data.name} has {len(data.test):,} test images"
        )
    number = int(text)
    label = data.class_names[int(data.test.labels[number])]
    return Shown(np.asarray(data.test.images[number]), f"test image {number}", label)


def for_display(images: np.ndarray) -> np.ndarray:
    """Images (…, height, width, channels) as matplotlib shows them: grey without the last axis,
    colour with three or four channels; of any other number, the mean."""
    if images.shape[-1] in (3, 4):
        return images
    return images[..., 0] if images.shape[-1] == 1 else images.mean(axis=-1)


def file_part(text: str) -> str:
    """The text as part of a file's name."""
    return (
        "".join(c if c.isalnum() or c in "-_." else "-" for c in text).strip("-.")[:80] or "image"
    )
