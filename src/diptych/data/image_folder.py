"""A folder of pictures, one subfolder a class, named after it.

Either the class folders lie in the folder itself; each class is then split 80/10/10 into training,
validation and test pictures, the same way every time. Or the folder has ``train`` and ``test``
folders of class folders, and perhaps ``validation`` (or ``val``); without it a twelfth of each
class's training pictures validates.

Classes are numbered in the order of their names, 2 before 10. Pictures are files with a picture's
suffix anywhere below a class folder; hidden files and folders are left out. All must have one size,
or are scaled to one: whole, without keeping their proportions, as `predict` scales pictures. If any
picture has colour, all get three channels; else all have one. Transparent parts become white.

The pictures are decoded once, into IDX files in the user's cache folder, and memory-mapped from
there; they are decoded again when any picture's name, size, date or inode changes.
"""

import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.data import pictures
from diptych.data.cache import cache_folder, unwritable
from diptych.data.dataset import Data, Split
from diptych.data.idx import idx_header, open_idx
from diptych.data.idx_folder import IDX_NAMES, VALIDATION_SHARE, make_split
from diptych.data.sizes import Size, with_size
from diptych.errors import InputError
from diptych.printing import escaped
from diptych.randomness import generator

logger = logging.getLogger(__name__)

# Part of what the cache is known by: raise it when the same pictures would be converted otherwise.
CONVERSION = 1
TEST_SHARE = 10
CHUNK = 256
"""As many pictures are decoded before they are written out, or as many as have so many pixels:"""
CHUNK_PIXELS = pictures.MOST_PIXELS
ASIDE = "converting-"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Picture:
    """A picture file and the number of its class."""

    path: Path
    label: int


def load_image_folder(folder: Path, size: Size | None = None) -> Data:
    """Open the folder, converting its pictures if that has not been done.

    Args:
        folder: holds class folders, or ``train`` and ``test``.
        size: width and height that all pictures are scaled to; None: they have one size already.

    Raises:
        InputError: no pictures, one class only, a class with too few pictures, pictures that are
            unreadable or, without ``size``, of different sizes, or a cache that cannot be written
            to.
    """
    class_names, splits = _find(folder)
    converted = _converted(folder, splits, size)
    train, validation, test = (_open_split(converted, split) for split in SPLITS)
    return Data(
        name=folder.name or str(folder),
        source=with_size(folder, size),
        train=train,
        validation=validation,
        test=test,
        class_names=class_names,
        files=tuple(converted / f"{split}.{of}" for split in SPLITS for of in ("images", "labels")),
    )


def _find(folder: Path) -> tuple[tuple[str, ...], dict[str, list[Picture]]]:
    """The classes and, for each split, its pictures in the order they will have."""
    try:
        subfolders = _subfolders(folder)
        for leftover in (folder / below / pictures.MACOSX for below in ("", *SPLITS, "val")):
            if leftover.is_dir():
                logger.warning("left out: %s, which macOS' archives bring along", leftover)
        if {"train", "test"} <= set(subfolders) and _subfolders(folder / "train"):
            names, splits = _find_split(folder, subfolders)
        else:
            names, splits = _find_unsplit(folder, subfolders)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error}") from error
    for split, found in splits.items():
        order = _order(f"order/{split}", len(found))
        splits[split] = [found[at] for at in order]
    return names, splits


def _find_unsplit(
    folder: Path, names: list[str]
) -> tuple[tuple[str, ...], dict[str, list[Picture]]]:
    classes = _classes(folder, names)
    splits: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    for label, (name, paths) in enumerate(classes.items()):
        if len(paths) < 3:
            raise InputError(
                f"the class {name} in {folder} has too few pictures ({len(paths)}); "
                "to train, to validate and to test it takes at least 3"
            )
        held = max(1, len(paths) // TEST_SHARE)
        shuffled = [paths[at] for at in _order(f"split/{name}", len(paths))]
        for split, chosen in (
            ("test", shuffled[:held]),
            ("validation", shuffled[held : 2 * held]),
            ("train", shuffled[2 * held :]),
        ):
            splits[split] += [Picture(path, label) for path in chosen]
    return tuple(classes), splits


def _find_split(
    folder: Path, subfolders: list[str]
) -> tuple[tuple[str, ...], dict[str, list[Picture]]]:
    train = _classes(folder / "train", _subfolders(folder / "train"))
    names = tuple(train)
    splits: dict[str, list[Picture]] = {split: [] for split in SPLITS}
    splits["test"] = _of_known_classes(folder / "test", names)
    validation = next((name for name in ("validation", "val") if name in subfolders), None)
    if validation:
        splits["validation"] = _of_known_classes(folder / validation, names)
    for label, (name, paths) in enumerate(train.items()):
        held = 0 if validation else max(1, len(paths) // VALIDATION_SHARE)
        if len(paths) <= held:
            raise InputError(
                f"the class {name} in {folder / 'train'} has too few pictures ({len(paths)}); "
                "to train and to validate it takes at least 2"
            )
        shuffled = [paths[at] for at in _order(f"split/{name}", len(paths))]
        splits["validation"] += [Picture(path, label) for path in shuffled[:held]]
        splits["train"] += [Picture(path, label) for path in shuffled[held:]]
    return names, splits


def _of_known_classes(folder: Path, names: tuple[str, ...]) -> list[Picture]:
    found = []
    for name in _subfolders(folder):
        if name not in names:
            raise InputError(f"{folder / name} is a class that the folder train beside it lacks")
        paths = pictures.pictures_below(folder / name)
        found += [Picture(path, names.index(name)) for path in paths]
    if not found:
        raise InputError(f"{folder} has no pictures in folders named after the classes")
    return found


def _classes(folder: Path, names: list[str]) -> dict[str, list[Path]]:
    classes = {name: pictures.pictures_below(folder / name) for name in names}
    if not any(classes.values()):
        raise InputError(_nothing(folder))
    empty = [name for name, paths in classes.items() if not paths]
    if empty:
        raise InputError(
            f"the class folder {folder / empty[0]} holds no pictures "
            f"({', '.join(sorted(pictures.SUFFIXES))})"
        )
    if len(classes) < 2:
        raise InputError(
            f"{folder} has one class only ({names[0]}); expected one subfolder of pictures for "
            "each of at least two classes, or train and test folders of such subfolders"
        )
    return classes


def _nothing(folder: Path) -> str:
    expected = (
        f"expected the four IDX files {', '.join(IDX_NAMES)} (or .gz of them), "
        "or one subfolder of pictures a class"
    )
    inside = [each for each in folder.iterdir() if not pictures.is_hidden(each.name)]
    if not inside:
        return f"{folder} is empty; {expected}"
    if any(each.suffix.lower() in pictures.SUFFIXES for each in inside):
        return f"{folder} has pictures but not in class folders; {expected}"
    return f"{folder} holds no data; {expected}"


def _subfolders(folder: Path) -> list[str]:
    names = []
    for each in folder.iterdir():
        if not each.is_dir() or pictures.is_hidden(each.name):
            continue
        try:
            each.name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the name of the class folder {escaped(str(each))} is not UTF-8; rename it"
            ) from None
        names.append(each.name)
    return sorted(names, key=pictures.natural_order)


def _order(purpose: str, count: int) -> np.ndarray:
    # Sorting raw draws, not permutation(): NumPy keeps Philox's raw stream the same for ever.
    return np.argsort(generator(0, purpose).bit_generator.random_raw(count), kind="stable")


def _converted(folder: Path, splits: dict[str, list[Picture]], size: Size | None) -> Path:
    """The folder in the cache with the IDX files of just these pictures, made if need be."""
    source = with_size(folder, size)
    here = hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()[:16]
    shelf = cache_folder("folders", here)
    target = shelf / _fingerprint(folder, splits)
    if not target.is_dir():
        shape = _common_shape([picture for split in splits.values() for picture in split], size)
        try:
            aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=shelf))
            try:
                for split, chosen in splits.items():
                    _convert(chosen, shape, aside / split, is_scaled=size is not None)
                with suppress(OSError):  # another process was faster; its files are the same
                    aside.replace(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise unwritable(shelf, error) from error
        _clear(shelf, keep=target)
    return target


def _clear(shelf: Path, keep: Path) -> None:
    """Remove earlier conversions, and what a conversion that was killed left a day ago."""
    for each in shelf.iterdir():
        with suppress(OSError):  # another process clears too
            in_use = each.name.startswith(ASIDE) and each.stat().st_mtime > time.time() - 86_400
            if each != keep and not in_use:
                shutil.rmtree(each)


def _fingerprint(folder: Path, splits: dict[str, list[Picture]]) -> str:
    digest = hashlib.sha256(f"{CONVERSION}\0".encode())
    try:
        for split, chosen in splits.items():
            for picture in chosen:
                facts = picture.path.stat()
                path = picture.path.relative_to(folder)
                # A picture that was changed and given its old date back has another ctime.
                times = f"{facts.st_mtime_ns}\0{facts.st_ctime_ns}\0{facts.st_ino}"
                line = f"{split}\0{path}\0{picture.label}\0{facts.st_size}\0{times}\0"
                digest.update(line.encode(errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error}") from error
    return digest.hexdigest()[:32]


def _common_shape(chosen: list[Picture], size: Size | None) -> tuple[int, int, int]:
    """Height, width and channels, from the headers of all pictures, in the order of their paths."""
    paths = sorted(picture.path for picture in chosen)
    first, any_colour = pictures.peek(paths[0])
    for path in paths[1:]:
        other, colour = pictures.peek(path)
        if size is None and other != first:
            raise InputError(_sizes_differ(paths[0], first, path, other))
        any_colour |= colour
    width, height = size or first
    return height, width, 3 if any_colour else 1


def _sizes_differ(first: Path, size: tuple[int, int], path: Path, other: tuple[int, int]) -> str:
    return (
        f"pictures of different sizes: {first} is {size[0]}x{size[1]}, "
        f"{path} is {other[0]}x{other[1]}; give a size to scale them to, such as "
        f"--size {size[0]}x{size[1]} (in Python: load_data(folder, size={size}))"
    )


def _convert(
    chosen: list[Picture], shape: tuple[int, int, int], target: Path, is_scaled: bool
) -> None:
    images, labels = target.with_suffix(".images"), target.with_suffix(".labels")
    # Written in order, not through a memory map, so that a full disk is an error and not a crash.
    with images.open("wb") as file:
        file.write(idx_header((len(chosen), *shape), np.dtype(np.uint8)))
        for pixels in _decoded(chosen, shape, is_scaled):
            file.write(pixels.tobytes())
    numbers = np.array([picture.label for picture in chosen], ">i4")
    labels.write_bytes(idx_header(numbers.shape, numbers.dtype) + numbers.tobytes())


def _decoded(
    chosen: list[Picture], shape: tuple[int, int, int], is_scaled: bool
) -> Iterator[np.ndarray]:
    height, width, channels = shape

    def decode(picture: Picture) -> np.ndarray:
        image = pictures.open_picture(picture.path)
        if is_scaled:
            image = pictures.scaled(image, (width, height))
        pixels = pictures.to_uint8(image, channels)
        if pixels.shape != shape:
            raise InputError(
                f"{picture.path} is {image.width}x{image.height}, but other pictures are "
                f"{width}x{height}; give a size to scale them to, such as --size {width}x{height}"
            )
        return pixels

    # One budget for all threads: as many pictures as there are cores may be decoded at once.
    count = max(1, min(CHUNK, CHUNK_PIXELS // (shape[0] * shape[1])))
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(chosen), count):
            yield from pool.map(decode, chosen[start : start + count])


def _open_split(converted: Path, split: str) -> Split:
    images = open_idx(converted / f"{split}.images")
    labels = open_idx(converted / f"{split}.labels")
    return make_split(images.read(), labels.read())
