"""A data set as a folder of four gzipped IDX files, which any tool for MNIST reads."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from diptych.data.dataset import Data
from diptych.data.idx import write_idx
from diptych.data.idx_folder import IDX_NAMES, VALIDATION_SHARE
from diptych.errors import InputError


def save_idx_folder(data: Data, folder: str | Path, *, force: bool = False) -> list[Path]:
    """Writes the four files, and ``classes.txt`` where classes have other names than numbers.

    The validation images come first among the training images, so `load_data` of the folder has the
    same splits.

    Args:
        data: whose images and labels are written, as unsigned bytes.
        folder: made if it is not there.
        force: whether files that are there are replaced.

    Returns:
        The files, in the order of `IDX_NAMES`.

    Raises:
        InputError: a file is there already or cannot be written, there are more than 256 classes,
            or the validation images are not the first twelfth, which the form cannot say.
    """
    folder = Path(folder)
    count = len(data.validation) + len(data.train)
    if len(data.validation) != max(1, count // VALIDATION_SHARE):
        raise InputError(
            f"data {data.name}: {len(data.validation):,} of {count:,} images validate, but in a "
            f"folder of IDX files it is one of {VALIDATION_SHARE}; it cannot be written so"
        )
    if data.classes > 256:
        raise InputError(f"data {data.name}: {data.classes:,} classes, expected up to 256")
    paths = [folder / f"{name}.gz" for name in IDX_NAMES]
    if not force and (existing := [path for path in paths if path.exists()]):
        raise InputError(f"{existing[0]}: the file is there already (--force replaces it)")
    images = np.concatenate([data.validation.images, data.train.images])
    labels = np.concatenate([data.validation.labels, data.train.labels])
    begun: list[Path] = []
    arrays = (images, labels, np.asarray(data.test.images), data.test.labels)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, array in zip(paths, arrays, strict=True):
            begun.append(path)
            grey = array.ndim == 4 and array.shape[-1] == 1
            write_idx(path, (array[..., 0] if grey else array).astype(np.uint8))
        if data.class_names != tuple(map(str, range(data.classes))):
            (folder / "classes.txt").write_text("\n".join(data.class_names) + "\n", "utf-8")
    except OSError as problem:
        for path in begun:  # One of them is not whole, and they belong together.
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise InputError(f"{folder}: {problem.strerror or problem}") from None
    return paths
