"""How fast the workflow `jax` trains on a GPU, where the whole epoch is one call.

Each recipe is trained with several seeds in this one process: the first training of each shape
compiles, and is kept out of the times. Training time alone is counted.

    python bench/accelerator.py                             article and fast
    python bench/accelerator.py --seeds 20 fast:bfloat16    one recipe, many seeds

XLA puts a loop into one CUDA graph where it is asked to:

    XLA_FLAGS=--xla_gpu_enable_command_buffer=+CONVOLUTION,+WHILE python bench/accelerator.py
"""

import argparse
import os
import statistics
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table
from trainings import mean_and_error

from diptych import Network, Recipe, load_data, machine
from diptych.in_memory import EpochsOnly
from diptych.workflows import registry
from diptych.workflows.progress import Epoch, Progress

TARGETS = ["article:float32", "article:bfloat16", "fast:bfloat16"]


@dataclass
class Trained:
    """One seed's epochs and what the network then reads of the test set."""

    epochs: list[Epoch] = field(default_factory=list)
    test: float = 0.0


def trained(network: Network, recipe: Recipe, seed: int) -> Trained:
    data, progress = load_data("mnist"), Progress()
    workflow = registry.load("jax")(network.with_dropout_scaled(recipe.dropout_scale), recipe, seed)
    workflow.fit(data, EpochsOnly(lambda _: None, lambda: False), progress)
    read = workflow.logits(data.test.images).argmax(axis=1)
    return Trained(progress.history, float(np.mean(read == data.test.labels)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="RECIPE:PRECISION")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="in place of each recipe's own")
    given = parser.parse_args()
    network = Network.load("article")
    table = Table(
        "recipe", "precision", "batch", "epochs", "first epoch, s", "an epoch, s", "training, s",
        "validation", "test", "seeds", box=None,
    )  # fmt: skip
    for target in given.targets:
        name, _, precision = target.rpartition(":")
        changes = {"precision": precision} | ({"epochs": given.epochs} if given.epochs else {})
        recipe = Recipe.load(name).with_changes(**changes)
        found = [trained(network, recipe, seed) for seed in range(given.seeds + 1)]
        first, timed = found[0], found[1:]
        table.add_row(
            recipe.name, precision, str(recipe.batch_size), str(recipe.epochs),
            f"{first.epochs[0].train_seconds:.1f}",
            f"{statistics.median(e.train_seconds for one in timed for e in one.epochs):.3f}",
            f"{statistics.median(sum(e.train_seconds for e in one.epochs) for one in timed):.2f}",
            mean_and_error([one.epochs[-1].validation_accuracy for one in found]),
            mean_and_error([one.test for one in found]), str(len(found)),
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    import jax

    console.print(f"{jax.devices()[0].device_kind}, XLA_FLAGS={os.environ.get('XLA_FLAGS', '')!r}")
    console.print(f"{machine.describe()['processor']}, {machine.versions()}")


if __name__ == "__main__":
    main()
