"""What each trick of the recipe `fast` gives alone: the recipe, and the recipe without that trick.

All are trained by one workflow, seed by seed, in turns. Training time alone is counted.

    python bench/tricks.py --seeds 3
    python bench/tricks.py --only fast float32 "images whole"
"""

import argparse
import statistics
import tempfile
from typing import Any

from rich.console import Console
from rich.table import Table
from trainings import mean_and_error, result_of

from diptych import Recipe, machine

WITHOUT: dict[str, dict[str, Any]] = {
    "fast": {},
    "nothing frozen": {"frozen_after": []},
    "nothing frozen, two epochs": {"frozen_after": [], "epochs": 2},
    "images whole": {"crop": 0.0},
    "images whole, two epochs": {"crop": 0.0, "epochs": 2},
    "beta_2 0.999": {"beta_2": 0.999},
    "constant rate of 0.001": {"schedule": "constant", "learning_rate": 0.001},
    "all of the dropout": {"dropout_scale": 1.0},
    "no shift": {"shift": 0},
    "batches of 50, peak 0.002": {"batch_size": 50, "learning_rate": 0.002},
    "float32": {"precision": "float32"},
}
"""What takes one trick away; two epochs where that makes steps dearer, for nearly as much time."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workflow", default="tensorflow")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(WITHOUT), choices=WITHOUT)
    given = parser.parse_args()
    console, fast = Console(width=110), Recipe.load("fast")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in given.only}
    with tempfile.TemporaryDirectory() as runs:
        for seed in range(given.seeds):
            for name in given.only:
                recipe = fast.with_changes(**WITHOUT[name])
                result = result_of(given.workflow, recipe, seed, runs, console, name)
                found[name].append(result)
    table = Table(
        "recipe", "seconds, median", "to the first", "validation", "test", "seeds", box=None
    )
    first = statistics.median(result["train_seconds"] for result in found[given.only[0]])
    for name, results in found.items():
        seconds = statistics.median(result["train_seconds"] for result in results)
        accuracies = (
            mean_and_error([result[f"{split}_accuracy"] for result in results])
            for split in ("validation", "test")
        )
        row = (name, f"{seconds:.1f}", f"{seconds / first:.2f}", *accuracies, str(len(results)))
        table.add_row(*row)
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
