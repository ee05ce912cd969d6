"""The data files that a script reads: MNIST's four IDX files, or those in a folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from diptych.data.idx import open_idx
from diptych.data.idx_folder import (
    IDX_NAMES,
    VALIDATION_SHARE,
    find_idx_file,
    has_idx_files,
    load_idx_folder,
)
from diptych.errors import InputError
from diptych.network import Network

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
"""The source of the files in PyTorch's own loader of MNIST."""


@dataclass(frozen=True)
class Files:
    """Four IDX files, as a script names them."""

    folder: str
    """The default folder of the script."""
    names: tuple[str, ...]
    """Training images and labels, test images and labels; all gzipped or none."""
    image_shape: tuple[int, int, int]
    classes: int
    training: int
    """The number of training images; the ones before them are for validation."""
    validation: int
    image_header: int
    """Bytes in front of the first pixel: 16 for grey images, 20 where the file has channels."""
    mirror: str
    """The address that missing files are downloaded from; empty if there is none."""

    @property
    def gzipped(self) -> bool:
        return self.names[0].endswith(".gz")


MNIST = Files(
    folder="mnist",
    names=tuple(f"{name}.gz" for name in IDX_NAMES),
    image_shape=(28, 28, 1),
    classes=10,
    training=55_000,
    validation=5_000,
    image_header=16,
    mirror=MIRROR,
)


def files_like(network: Network) -> Files:
    """IDX files of images that fit a network, as many as MNIST has, in a folder ``data``."""
    *_, channels = network.input_shape
    return replace(
        MNIST,
        folder="data",
        image_shape=network.input_shape,
        classes=network.classes,
        image_header=16 if channels == 1 else 20,
        mirror="",
    )


def files_of(data: str) -> Files:
    """The files of MNIST, or those in a folder.

    Args:
        data: ``"mnist"``, or a folder of four IDX files.

    Raises:
        InputError: it is neither, or a script cannot read the files in a few lines: some are
            gzipped and some are not, or the labels are not bytes.
    """
    if data == "mnist":
        return MNIST
    folder = Path(data)
    if not folder.is_dir() or not has_idx_files(folder):
        raise InputError(
            f"data {data}: a script reads mnist or a folder of four IDX files, and this is neither "
            "(`diptych data save NAME FOLDER` writes such a folder)"
        )
    loaded = load_idx_folder(folder)
    paths = [path for name in IDX_NAMES if (path := find_idx_file(folder, name))]
    if len({path.suffix == ".gz" for path in paths}) > 1:
        raise InputError(f"data {data}: some files are gzipped and some are not, expected one form")
    headers = [open_idx(path) for path in paths]
    for header in headers[1::2]:
        if header.dtype.itemsize > 1:
            raise InputError(
                f"data {data}: {header.path.name} has labels of {header.dtype.itemsize} bytes, a "
                "script reads labels of one byte (`diptych data save FOLDER OTHER` writes such)"
            )
    count = headers[0].shape[0]
    return Files(
        folder=str(folder),
        names=tuple(path.name for path in paths),
        image_shape=loaded.image_shape,
        classes=loaded.classes,
        training=len(loaded.train),
        validation=max(1, count // VALIDATION_SHARE),
        image_header=headers[0].offset,
        mirror="",
    )
