"""Snapshots of a training: its weights after 0, 1, 3, 9, 27, … steps, to look at how it learned.

They are in the run's folder, ``snapshots/STEP.safetensors``, as float16: enough to look at, and
half as large. They are the weights of the moment, not their running average if the recipe has one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from diptych.errors import InputError
from diptych.network import Weights
from diptych.runs import Run
from diptych.whole_files import read_arrays, write_arrays

FOLDER = "snapshots"
FACTOR = 3
"""Between the steps of two snapshots. The article's network has ten of 0.9 MB in three epochs."""


def keep_snapshots(run: Run) -> None:
    """Has a run that has not been trained yet keep snapshots."""
    (run.folder / FOLDER).mkdir(exist_ok=True)


def snapshot_steps(run: Run) -> list[int]:
    """The steps after which the run has snapshots, in order; none where it keeps none."""
    files = (run.folder / FOLDER).glob("*.safetensors")
    return sorted(int(file.stem) for file in files if file.stem.isdecimal())


def read_snapshot(run: Run, step: int) -> Weights:
    """The weights after that step, float32.

    Raises:
        InputError: there is no such snapshot, or it is damaged.
    """
    path = _path(run, step)
    if not path.is_file():
        steps = ", ".join(map(str, snapshot_steps(run))) or "none"
        raise InputError(f"run {run.name}: no snapshot after step {step}; there are {steps}")
    weights = {name: value.astype(np.float32) for name, value in read_arrays(path).items()}
    run.network.check_weights(weights)
    return weights


class Snapshots:
    """Takes the snapshots of a run while it trains; of one that keeps none it takes none."""

    def __init__(self, run: Run, weights: Callable[[], Weights]) -> None:
        """``weights`` gives those of the moment."""
        self.run, self.weights = run, weights
        self.wanted = (run.folder / FOLDER).is_dir()
        steps = snapshot_steps(run)
        self.next = max(FACTOR * steps[-1], 1) if steps else 0

    def advanced(self, step: int) -> None:
        """Takes a snapshot if it is time for one, after that many steps of the training."""
        if self.wanted and step >= self.next:
            weights = {name: value.astype(np.float16) for name, value in self.weights().items()}
            write_arrays(_path(self.run, step), weights)
            self.next = max(FACTOR * step, 1)


def _path(run: Run, step: int) -> Path:
    return run.folder / FOLDER / f"{step}.safetensors"
