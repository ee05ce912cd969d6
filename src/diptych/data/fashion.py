"""Fashion-MNIST: Zalando's drop-in for MNIST, from Debian's package or its published mirrors.

H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv:1708.07747, 2017. https://github.com/zalandoresearch/fashion-mnist
"""

import dataclasses
from pathlib import Path

from diptych.data.cache import cache_folder, cache_path
from diptych.data.dataset import Data
from diptych.data.idx_folder import load_idx_folder
from diptych.errors import InputError

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)

# Name, size and SHA-256, decompressed.
FILES = (
    (
        "train-images-idx3-ubyte",
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    (
        "train-labels-idx1-ubyte",
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    (
        "t10k-images-idx3-ubyte",
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    (
        "t10k-labels-idx1-ubyte",
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def is_available_offline() -> bool:
    """True if Debian's package is installed or an earlier download is whole."""
    return _debian_has_it() or _all_there(cache_path("fashion-mnist"))


def load_fashion_mnist() -> Data:
    """Fashion-MNIST, split as MNIST is: 55,000 / 5,000 / 10,000 images, 28x28, one channel.

    Raises:
        InputError: it is not on this machine and no mirror gave it.
    """
    if _debian_has_it():
        folder = DEBIAN_FOLDER
    else:
        folder = cache_path("fashion-mnist")
        if not _all_there(folder):
            _download(cache_folder("fashion-mnist"))
    return dataclasses.replace(
        load_idx_folder(folder),
        name="fashion-mnist",
        source="fashion-mnist",
        class_names=CLASS_NAMES,
        notice="Fashion-MNIST, copyright 2017 Zalando SE, https://tech.zalando.com, MIT licence",
    )


def _download(folder: Path) -> None:
    from diptych.data.download import Published, fetch

    try:
        # The small files first: without a network that is found out in no time.
        for name, size, sha256 in sorted(FILES, key=lambda file: file[1]):
            fetch(Published(name, size, sha256), MIRRORS, folder)
    except InputError as error:
        raise InputError(
            f"fashion-mnist is not on this machine: {error}; try again with a network, install "
            "Debian's package dataset-fashion-mnist, or give a folder with its four .gz files"
        ) from error


def _debian_has_it() -> bool:
    return all((DEBIAN_FOLDER / f"{name}.gz").is_file() for name, _, _ in FILES)


def _all_there(folder: Path) -> bool:
    return all((folder / name).is_file() for name, _, _ in FILES)
