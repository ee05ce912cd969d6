"""Opening data sets: ``load_data`` is the one way in.

Images stay uint8, memory-mapped where the files allow it; float32
in [0, 1] is made a batch at a time, by whoever consumes them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from diptych.data.dataset import Data
from diptych.data.sizes import with_size, without_size
from diptych.errors import InputError


@dataclass(frozen=True)
class KnownData:
    """A data set that has a name: what it is, and whether it opens without a network."""

    name: str
    description: str
    offline: bool


def known_data() -> tuple[KnownData, ...]:
    """The data sets that ``load_data`` knows by name."""
    from diptych.data import fashion

    return (
        KnownData("mnist", "70,000 handwritten digits, 28x28 grey, 10 classes; built in", True),
        KnownData(
            "fashion-mnist",
            "70,000 pieces of clothing, 28x28 grey, 10 classes; 30 MB to download, once",
            fashion.is_available_offline(),
        ),
    )


def load_data(
    source: str | os.PathLike[str] = "mnist", size: int | tuple[int, int] | None = None
) -> Data:
    """Open a data set, split into training, validation and test images.

    Args:
        source: one of

            - ``"mnist"``, built in: 55,000 training, 5,000 validation (the first 5,000 of the
              original training images) and 10,000 test images;
            - ``"fashion-mnist"``, split alike;
            - a folder with four IDX files, see ``diptych.data.idx_folder``;
            - a folder with one subfolder of pictures a class, see ``diptych.data.image_folder``.

            A name wins over a folder of that name; write ``./mnist`` for the folder.
        size: what to scale the pictures of class folders to: width and height in pixels, or one
            number for both. The data's ``source`` is then ``FOLDER@WIDTHxHEIGHT``, which may
            also be given here.

    Returns:
        The data: uint8 images ``(n, height, width, channels)``, int64 labels ``(n,)``.

    Raises:
        InputError: no such data set or folder, or its files are not what they should be.
    """
    source = with_size(source, size)
    if source == "mnist":
        from diptych.data import embedded

        return embedded.load_mnist()
    if source == "fashion-mnist":
        from diptych.data import fashion

        return fashion.load_fashion_mnist()
    return _load_folder(source)


def _load_folder(source: str) -> Data:
    from diptych.data import idx_folder, image_folder

    scaled, size = without_size(source)
    if size and _is_folder(source):
        scaled, size = source, None
    if size and scaled in (known.name for known in known_data()):
        raise InputError(_one_size(scaled))
    folder = _existing_folder(scaled)
    if idx_folder.has_idx_files(folder):
        if size:
            raise InputError(_one_size(scaled))
        return idx_folder.load_idx_folder(folder)
    return image_folder.load_image_folder(folder, size)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # too long, a NUL byte
        return False


def _one_size(source: str) -> str:
    return (
        f"the images of {source} have one size already, and are not scaled; expected a folder of "
        "one subfolder of pictures a class"
    )


def _existing_folder(given: str) -> Path:
    """The folder as an absolute path, symbolic links kept as the user wrote them."""
    try:
        folder = Path(given).expanduser().absolute()
        if given and folder.is_dir():
            return Path(os.path.normpath(folder))
        is_file = bool(given) and folder.exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, a NUL byte
        is_file = False
    if is_file:
        raise InputError(
            f"{given} is a file, expected a folder: of four IDX files, "
            "or of one subfolder of pictures a class (unpack an archive first)"
        )
    raise InputError(_unknown(given))


def _unknown(given: str) -> str:
    import difflib

    names = [known.name for known in known_data()]
    close = difflib.get_close_matches(given.lower().replace("_", "-"), names, n=1, cutoff=0.6)
    if Path(given).name != given:
        return f"no folder {given!r}; data is one of {', '.join(names)}, or a folder that exists"
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
    known = f" (known are {', '.join(names)})" if close else ""
    return f"no data set or folder named {given!r}; {hint}{known}, or give a folder that exists"
