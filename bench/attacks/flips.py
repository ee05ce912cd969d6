"""Files of a run that were damaged: each is told in one line, or what is read is what was written.

The three files of arrays have checksums: no damage to them may go unnoticed. The others are text,
where a digit may change and nobody can know.
"""

import shutil
from pathlib import Path

import numpy as np
from attack import Attack, Tally, damaged, repeated

from diptych import training
from diptych.data import load_data
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run, find
from support import write_digits

ARRAYS = ("weights.safetensors", "predictions.safetensors", "checkpoint/state.safetensors")
TEXTS = ("run.json", "metrics.jsonl", "result.json")
NETWORK = {
    "name": "small",
    "input_shape": [28, 28, 1],
    "layers": [
        {"kind": "conv", "filters": 4, "kernel": 3, "stride": 2, "padding": "same"},
        {"kind": "max_pool", "size": 4},
        {"kind": "dropout", "rate": 0.25},
        {"kind": "flatten"},
        {"kind": "dense", "units": 10},
    ],
}


def small_run(folder: Path) -> Run:
    """A finished run of a small network on 330 digits, in NumPy."""
    data = write_digits(load_data("mnist"), folder / "few", 360, 200)
    recipe = Recipe(name="quick", epochs=2, batch_size=30, learning_rate=0.01)
    network = Network.from_dict(NETWORK)
    runs = folder / "runs"
    return training.train("numpy", network, recipe, str(data), runs=runs, report=lambda _: None)


def everything(run: Run) -> None:
    """Reads all that a run has."""
    _ = run.metrics(), run.result(), run.weights(), run.predictions(), run.load_checkpoint()


def carry_out(folder: Path, generator: np.random.Generator, seconds: float, bar: int) -> Tally:
    run = small_run(folder)
    whole = {name: (run.folder / name).read_bytes() for name in (*ARRAYS, *TEXTS)}

    def attempt(number: int) -> str:
        name = (*ARRAYS, *TEXTS)[number % 6]
        path = run.folder / name
        contents = damaged(whole[name], generator)
        path.write_bytes(contents)
        try:
            _ = find(run.folder.parent)
            everything(Run.open(run.folder))
        except InputError as problem:
            assert "\n" not in str(problem), f"{name}: more than one line"
            return "told in a line"
        finally:
            path.write_bytes(whole[name])
        assert name in TEXTS or contents == whole[name], f"{name}: damage went unnoticed"
        return "read as it was" if contents == whole[name] else "read: text that still makes sense"

    tally = repeated(ATTACK, attempt, seconds, bar)
    shutil.rmtree(run.folder)
    return tally


ATTACK = Attack(
    "flips",
    "a file of a run with flipped bits, overwritten, missing or doubled bytes, or cut off",
    "one line; of weights, checkpoints and predictions no damage is missed",
    5_000,
    1.0,
    carry_out,
)
