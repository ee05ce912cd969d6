"""A data set that is larger than memory trains in memory that does not grow with it."""

import gzip
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from diptych import load_data, runs
from diptych.benchmarks.steps import Clock
from diptych.data.idx import idx_header, write_idx
from diptych.data.idx_folder import IDX_NAMES
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows import registry
from diptych.workflows.progress import Progress
from support import NEEDS_PROC, WORKFLOWS

pytestmark = NEEDS_PROC

SHAPE = (200, 200, 3)
NETWORK = Network.from_dict(
    {
        "name": "coarse",
        "input_shape": SHAPE,
        "layers": [
            {"kind": "conv", "filters": 2, "kernel": 8, "stride": 8, "padding": "valid"},
            {"kind": "flatten"},
            {"kind": "dense", "units": 10},
        ],
    }
)
MIB = 2**20
GROWTH = 200
"""MiB that a few steps may take, whatever the data: twenty batches, activations, graphs."""


def empty_folder(folder: Path, count: int, shape: tuple[int, ...]) -> Path:
    """IDX files of black images, which take no room on a disk: only their ends are written."""
    folder.mkdir()
    for name, images in zip(IDX_NAMES[::2], (count, 20), strict=True):
        with (folder / name).open("wb") as file:
            file.write(idx_header((images, *shape), np.dtype(np.uint8)))
            file.truncate(file.tell() + images * math.prod(shape))
    for name, labels in zip(IDX_NAMES[1::2], (count, 20), strict=True):
        write_idx(folder / name, (np.arange(labels) % 10).astype(np.uint8))
    return folder


def own_mib() -> float:
    """This process's memory without what is mapped from files, which the system takes back."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 2**10


@contextmanager
def growth() -> Iterator[Callable[[], float]]:
    """Gives the most by which this process's own memory has grown meanwhile, in MiB."""
    before, most, ended = own_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            most[0] = max(most[0], own_mib() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: max(most[0], own_mib() - before)
    finally:
        ended.set()
        watcher.join()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 GiB of images."""
    return empty_folder(tmp_path_factory.mktemp("large") / "data", 9_000, SHAPE)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_data_set_that_does_not_fit_trains_in_constant_memory(name: str, large: Path) -> None:
    recipe = Recipe(name="few", epochs=1, batch_size=10, shift=1)
    built = registry.load(name)(NETWORK, recipe, seed=0)
    progress = Progress()
    with growth() as grown:
        data = load_data(large)
        built.fit(data, Clock(20), progress)
        assert progress.step == 20
        assert grown() < GROWTH
    assert data.train.images.nbytes > 4 * GROWTH * MIB


def test_making_a_run_of_it_takes_no_more(large: Path, tmp_path: Path) -> None:
    with growth() as grown:
        run = runs.Run.create(tmp_path, NETWORK, Recipe(), "numpy", load_data(large), 0)
        run.check_data(load_data(large))
        assert grown() < 5


def test_compressed_images_take_their_bytes(tmp_path: Path) -> None:
    """They are in memory, and in it once."""
    folder = empty_folder(tmp_path / "data", 200_000, (28, 28))
    images = folder / IDX_NAMES[0]
    size = images.stat().st_size
    with gzip.open(f"{images}.gz", "wb", compresslevel=1) as file:
        file.write(images.read_bytes())
    images.unlink()
    with growth() as grown:
        data = load_data(folder)
        assert data.train.images.nbytes + data.validation.images.nbytes == size - 16
        most = 1.05 * size / MIB  # Labels are 8 bytes each.
        assert 0.9 * size / MIB < grown() < most
