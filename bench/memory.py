"""What a training holds in memory while the data grow, in MiB.

Each measurement is a process of its own that opens the data and takes some steps on them. The data
are MNIST; ten times as many images, MNIST's own moved by up to two pixels, as IDX files that are
mapped and gzipped, which have to be unpacked into memory; and black images in colour, 2 and 20 GiB.

``peak`` is all that was resident at once. ``own`` is that without pages mapped from files, which
the system takes back when it needs them: what a data set that does not fit must not add to.

    python bench/memory.py --steps 100 tensorflow keras torch jax
"""

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from diptych import Network, Recipe, load_data, machine
from diptych.benchmarks.steps import Clock
from diptych.data import Data
from diptych.data.augmentation import shifted
from diptych.data.idx import idx_header, write_idx
from diptych.data.idx_folder import IDX_NAMES
from diptych.machine import peak_memory_mib
from diptych.worker import ENVIRONMENT
from diptych.workflows import registry
from diptych.workflows.progress import Progress

TIMES = 10
LARGE = (256, 160, 3)
"""The shape of large images, 8,738 of which are a GiB."""
STRIDED = """
input_shape = [256, 160, 3]
layers = [
  { kind = "conv", filters = 16, kernel = 8, stride = 8, padding = "same", activation = "relu" },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
"""


def measure(side: str, network: str, folder: str, steps: int) -> dict[str, float]:
    """The most memory that this process has had, all of it and its own, in MiB."""
    own, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            status = Path("/proc/self/status").read_text()
            own[0] = max(own[0], int(status.split("RssAnon:")[1].split()[0]) / 2**10)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    data = load_data(folder)
    fitted = Network.load(network).adapted(data.image_shape, data.classes)
    recipe = Recipe.load("fast").with_changes(precision="float32")
    registry.load(side)(fitted, recipe, 0).fit(data, Clock(steps), Progress())
    ended.set()
    watcher.join()
    return {"peak": peak_memory_mib(), "own": own[0]}


def make_times(mnist: Data, folder: Path, times: int, packed: bool) -> Path:
    """IDX files of so many times MNIST's training images, moved by up to two pixels."""
    folder.mkdir()
    chance = np.random.Generator(np.random.Philox(0))
    whole = np.concatenate([mnist.validation.images, mnist.train.images])
    labels = np.concatenate([mnist.validation.labels, mnist.train.labels]).astype(np.uint8)
    suffix = ".gz" if packed else ""
    images, numbers, test, test_labels = (f"{name}{suffix}" for name in IDX_NAMES)
    with (
        gzip.open(folder / images, "wb", compresslevel=1)
        if packed
        else (folder / images).open("wb") as file
    ):
        file.write(idx_header((times * len(whole), *whole.shape[1:3]), np.dtype(np.uint8)))
        for number in range(times):
            offsets = chance.integers(-2, 2, (len(whole), 2), endpoint=True)
            file.write((shifted(whole, offsets) if number else whole).tobytes())
    write_idx(folder / numbers, np.tile(labels, times))
    write_idx(folder / test, mnist.test.images[..., 0])
    write_idx(folder / test_labels, mnist.test.labels.astype(np.uint8))
    return folder


def make_large(folder: Path, gibs: int) -> Path:
    """Black images, which take no room on the disk."""
    folder.mkdir()
    counts = (gibs * 2**30 // math.prod(LARGE), 100)
    for images, labels, count in zip(IDX_NAMES[::2], IDX_NAMES[1::2], counts, strict=True):
        with (folder / images).open("wb") as file:
            file.write(idx_header((count, *LARGE), np.dtype(np.uint8)))
            file.truncate(file.tell() + count * math.prod(LARGE))
        write_idx(folder / labels, (np.arange(count) % 10).astype(np.uint8))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sides", nargs="*", default=["tensorflow", "keras"], metavar="WORKFLOW")
    parser.add_argument("--network", default="article")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--once", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.sides[0], given.network, given.once, given.steps)))
        return
    mnist = load_data("mnist")
    table = Table("workflow", "data", "images, MiB", "peak", "own", box=None)
    with tempfile.TemporaryDirectory() as place:
        strided = Path(place, "strided.toml")
        strided.write_text(STRIDED)
        data = {
            "MNIST": (make_times(mnist, Path(place, "one"), 1, False), given.network),
            "10 × MNIST": (make_times(mnist, Path(place, "ten"), TIMES, False), given.network),
            "10 × MNIST, gzipped": (
                make_times(mnist, Path(place, "packed"), TIMES, True),
                given.network,
            ),
            "2 GiB": (make_large(Path(place, "large"), 2), str(strided)),
            "20 GiB": (make_large(Path(place, "larger"), 20), str(strided)),
        }
        for side in given.sides:
            for name, (folder, network) in data.items():
                command = [sys.executable, __file__, side, "--once", str(folder)]
                command += ["--network", network, "--steps", str(given.steps)]
                environment = os.environ | ENVIRONMENT | registry.environment(side)
                output = subprocess.run(
                    command, env=environment, capture_output=True, check=True
                ).stdout
                found = json.loads(output.splitlines()[-1])
                loaded = load_data(folder)
                size = sum(s.images.nbytes for s in (loaded.train, loaded.validation, loaded.test))
                cells = [f"{value:,.0f}" for value in (size / 2**20, found["peak"], found["own"])]
                table.add_row(side, name, *cells)
    console = Console()
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
