"""What a recipe reaches: the accuracy of many seeds, several trained at a time.

Times are of little worth where several train at once; `time_to_accuracy.py` is for those.

    python bench/seeds.py fast --seeds 10
    python bench/seeds.py balanced --workflow jax --processes 10    on a machine with a GPU
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table
from trainings import result_of, standard_error

from diptych import machine


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
        runs = given.runs or scratch
        seeds = range(given.first, given.first + given.seeds)
        with ThreadPoolExecutor(given.processes) as pool:
            results = list(
                pool.map(
                    lambda seed: result_of(given.workflow, given.recipe, seed, runs, console), seeds
                )
            )

    table = Table("split", "mean", "standard error", "lowest", "highest", "seeds", box=None)
    for split in ("validation", "test"):
        values = [result[f"{split}_accuracy"] for result in results]
        lowest, highest = f"{min(values):.3%}", f"{max(values):.3%}"
        mean, error = f"{statistics.mean(values):.3%}", standard_error(values)
        table.add_row(split, mean, error, lowest, highest, str(len(values)))
    console.print(table)
    console.print(f"{given.recipe}, {given.workflow}: {machine.versions()}")


if __name__ == "__main__":
    main()
