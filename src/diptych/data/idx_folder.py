"""A folder with the four IDX files of a data set, as MNIST and its many successors come.

``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
``t10k-labels-idx1-ubyte``, also with ``.idx3-ubyte`` for ``-idx3-ubyte``, plain (then
memory-mapped) or gzipped with ``.gz`` after the name. Images are ``(n, height, width)`` or
``(n, height, width, channels)`` unsigned bytes of any size; labels are integers from zero on. A
file ``classes.txt`` may give the classes names, one a line.

The first twelfth of the training images (5,000 of MNIST's 60,000) is the validation split.
"""

from pathlib import Path

import numpy as np

from diptych.data.dataset import Data, Split
from diptych.data.idx import IdxFile, open_idx
from diptych.errors import InputError

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
VALIDATION_SHARE = 12
# Every class costs a name and an output; a label beyond this is a damaged file, not a class.
MOST_CLASSES = 65_536


def has_idx_files(folder: Path) -> bool:
    """True if any of the four files is there, under any of its names."""
    return any(find_idx_file(folder, name) for name in IDX_NAMES)


def load_idx_folder(folder: Path) -> Data:
    """Open the folder; plain files are memory-mapped, gzipped ones decompressed into memory.

    Raises:
        InputError: a file is missing or damaged, counts or shapes do not match, or labels are out
            of range.
    """
    missing = [name for name in IDX_NAMES if not find_idx_file(folder, name)]
    if missing:
        raise InputError(
            f"{folder} lacks {', '.join(missing)} (or .gz of it); "
            f"a data set of IDX files has {', '.join(IDX_NAMES)}"
        )
    # All headers first: a wrong count is found before anything is decompressed.
    files = [open_idx(find_idx_file(folder, name) or folder / name) for name in IDX_NAMES]
    train_images, train_labels, test_images, test_labels = files
    _check_pair(train_images, train_labels)
    _check_pair(test_images, test_labels)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(
            f"{test_images.path} has images of {_times(test_images)}, "
            f"but {train_images.path.name} has {_times(train_images)}; both must be the same"
        )
    if train_images.shape[0] < 2:
        raise InputError(f"{train_images.path} holds one image; training needs at least two")
    names = _class_names(folder)
    labels = [_labels(train_labels), _labels(test_labels)]
    class_names = _check_classes(names, labels[0], train_labels.path, labels[1], test_labels.path)
    train, validation, test = split_in_order(
        train_images.read(), labels[0], test_images.read(), labels[1]
    )
    return Data(
        name=folder.name or str(folder),
        source=str(folder),
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        files=tuple(file.path for file in files),
    )


def split_in_order(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[Split, Split, Split]:
    """Training, validation and test splits; the first twelfth of the training images validates.

    Images are ``(n, height, width)`` or ``(n, height, width, channels)`` uint8 and stay views of
    what is given; labels ``(n,)`` of any integer type become int64.
    """
    count = max(1, len(train_labels) // VALIDATION_SHARE)
    return (
        make_split(train_images[count:], train_labels[count:]),
        make_split(train_images[:count], train_labels[:count]),
        make_split(test_images, test_labels),
    )


def make_split(images: np.ndarray, labels: np.ndarray) -> Split:
    """A split of images with three or four dimensions and labels of any integer type."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    labels = np.array(labels, np.int64)
    labels.flags.writeable = False
    return Split(images, labels)


def find_idx_file(folder: Path, name: str) -> Path | None:
    """The file of that name in `IDX_NAMES`, in any of its forms; None where there is none."""
    dotted = name.replace("-idx", ".idx")
    candidates = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    return next((folder / each for each in candidates if (folder / each).is_file()), None)


def _check_pair(images: IdxFile, labels: IdxFile) -> None:
    if len(images.shape) not in (3, 4) or images.dtype != np.uint8:
        raise InputError(
            f"{images.path} holds {_kind(images)}, expected images: three or four dimensions "
            "(count, height, width, channels) of unsigned bytes, magic number 0x00000803 or 804"
        )
    if len(labels.shape) != 1 or labels.dtype.kind not in "ui":
        raise InputError(
            f"{labels.path} holds {_kind(labels)}, expected labels: one dimension of whole "
            "numbers, magic number 0x00000801"
        )
    if images.shape[0] != labels.shape[0]:
        raise InputError(
            f"{images.path} holds {images.shape[0]:,} images, "
            f"but {labels.path.name} {labels.shape[0]:,} labels; the counts must match"
        )


def _labels(file: IdxFile) -> np.ndarray:
    labels = file.read()
    if labels.min() < 0:
        raise InputError(f"{file.path} has the label {labels.min()}; labels count from 0")
    return labels


def _check_classes(
    names: tuple[str, ...] | None,
    train: np.ndarray,
    train_path: Path,
    test: np.ndarray,
    test_path: Path,
) -> tuple[str, ...]:
    most = len(names) if names else min(int(train.max()) + 1, MOST_CLASSES)
    for labels, path in ((train, train_path), (test, test_path)):
        at = int(labels.argmax())
        if labels[at] >= most:
            whence = "classes.txt gives" if names else "the training labels give"
            if not names and path == train_path:
                whence = "there can be"
            raise InputError(
                f"{path} has the label {labels[at]} at position {at:,}, out of range: "
                f"{whence} {most:,} classes, 0 to {most - 1:,}"
            )
    if train.min() == train.max():
        raise InputError(
            f"{train_path} has one class only ({train[0]}); training needs at least two"
        )
    return names or tuple(str(number) for number in range(most))


def _class_names(folder: Path) -> tuple[str, ...] | None:
    path = folder / "classes.txt"
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > 100 * MOST_CLASSES:
            raise InputError(f"{path} is too long for a list of class names, one a line")
        names = tuple(path.read_text("utf-8-sig").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error
    names = tuple(name.strip() for name in names)
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise InputError(f"{path} must give at least two class names, one a line, all different")
    return names


def _kind(file: IdxFile) -> str:
    return f"a {len(file.shape)}-dimensional array of {file.dtype.newbyteorder('=').name}"


def _times(file: IdxFile) -> str:
    return "x".join(str(size) for size in file.shape[1:])
