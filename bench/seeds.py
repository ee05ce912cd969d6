"""What a recipe reaches: the accuracy of many seeds, several trained at a time.

Times are of little worth where several train at once; `time_to_accuracy.py` is for those.

    python bench/seeds.py fast --seeds 10
    python bench/seeds.py balanced --workflow jax --processes 10    on a machine with a GPU
"""

import argparse
import math
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table

from diptych import machine, train


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--workflow", default="tensorflow")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--runs", help="keep the runs in this folder")
    given = parser.parse_args()
    console = Console(width=100)

    with tempfile.TemporaryDirectory() as scratch:

        def of_seed(seed: int) -> dict[str, Any]:
            run = train(
                given.workflow,
                "article",
                given.recipe,
                seed=seed,
                runs=given.runs or scratch,
                report=lambda _: None,
            )
            result = run.result() or {}
            console.print(
                f"seed {seed}: validation {result['validation_accuracy']:.4f}, test "
                f"{result['test_accuracy']:.4f}, {result['train_seconds']:.0f} s of training"
            )
            return result

        seeds = range(given.first, given.first + given.seeds)
        with ThreadPoolExecutor(given.processes) as pool:
            results = list(pool.map(of_seed, seeds))

    table = Table("split", "mean", "standard error", "lowest", "highest", "seeds", box=None)
    for split in ("validation", "test"):
        values = [result[f"{split}_accuracy"] for result in results]
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        shares = (statistics.mean(values), error, min(values), max(values))
        table.add_row(split, *(f"{share:.3%}" for share in shares), str(len(values)))
    console.print(table)
    console.print(f"{given.recipe}, {given.workflow}: {machine.versions()}")


if __name__ == "__main__":
    main()
