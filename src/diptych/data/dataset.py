"""A data set: three splits of images with class numbers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.shown import as_html


@dataclass(frozen=True, eq=False)
class Split:
    """Images and the class of each.

    Attributes:
        images: ``(n, height, width, channels)`` uint8, read-only; possibly a memory map, so slice
            it and convert a batch at a time.
        labels: ``(n,)`` int64 class numbers, read-only.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, as ``load_data`` gives it.

    Attributes:
        name: ``"mnist"``, ``"fashion-mnist"``, or the folder's name.
        source: what ``load_data`` takes to give the same data again, in any process and from any
            working directory: the name, or the folder's absolute path.
        train, validation, test: the splits; all three have images of one shape.
        class_names: a name for each class number.
        notice: authors and licence where known, else ``""``.
        files: the files that the images and labels were read from; empty where there are none.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    notice: str = ""
    files: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.image_shape))
        counts = (len(split.labels) for split in (self.train, self.validation, self.test))
        train, validation, test = (f"{count:,}" for count in counts)
        return (
            f"<Data {self.name}: {shape} images, {self.classes} classes; "
            f"{train} for training, {validation} for validation, {test} for the test>"
        )

    _repr_html_ = as_html("data:data_info")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)
