"""How long each workflow takes to the article's accuracy, against stock Keras' ten epochs.

The article reaches 99.31% on the test set (the mean of its 99.32 and 99.30). Training time alone
is counted, on all sides, the making of graphs included: no start-up, validation or test. The sides
take turns, since what else the machine does changes all times by some percent: an epoch of stock
Keras, a training of each workflow with one seed, and so on. What ten stock epochs take is ten times
their median, and once the making of a graph. After its last batch `fit` may wait for tf.data's
autotuning (docs/explanation/fast.md); that is printed, and not counted.

    python bench/time_to_accuracy.py                    ten seeds, ten stock epochs
    python bench/time_to_accuracy.py --stock-epochs 4   before the first four seeds alone
    python bench/time_to_accuracy.py --quick            one seed, one stock epoch
    python bench/time_to_accuracy.py --recipe balanced --seeds 3
"""

import argparse
import statistics
import tempfile

from rich.console import Console
from rich.table import Table
from trainings import result_of, standard_error

from diptych import machine
from diptych.worker import Worker

ARTICLE = 0.9931
STOCK_EPOCHS = 10


def stock_epoch(seed: int) -> tuple[float, float, float]:
    """Seconds of an epoch of stock Keras, of making its graph, and of waiting at the end."""
    with Worker({"TF_DETERMINISTIC_OPS": "0"}) as worker:
        answer, _ = worker.call("benchmarks.stock.keras:training_job", {"seed": seed})
    return answer["train_seconds"], answer["start_seconds"], answer["wait_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--workflows", default="tensorflow,keras")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--stock-epochs", type=int, default=STOCK_EPOCHS)
    parser.add_argument("--quick", action="store_true", help="one seed, and so one stock epoch")
    given = parser.parse_args()
    if min(given.seeds, given.stock_epochs) < 1:
        parser.error("--seeds and --stock-epochs: expected 1 or more")
    seeds = 1 if given.quick else given.seeds
    names = given.workflows.split(",")
    console = Console(width=100)

    stock: list[tuple[float, float, float]] = []
    found: dict[str, list[dict]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as runs:
        for seed in range(seeds):
            if seed < given.stock_epochs:
                stock.append(stock_epoch(seed))
                epoch, graph, wait = stock[-1]
                console.print(
                    f"stock keras, an epoch: {epoch:.1f} s, its graph {graph:.1f} s, "
                    f"and {wait:.1f} s at its end"
                )
            for name in names:
                found[name].append(result_of(name, given.recipe, seed, runs, console))

    table = Table(
        "side", "seconds, median", "stock keras to it", "validation, mean", "test, mean",
        "standard error", f"seeds at {ARTICLE:.2%} or more", box=None,
    )  # fmt: skip
    epoch, graph, _ = (statistics.median(seconds) for seconds in zip(*stock, strict=True))
    stock_seconds = epoch * STOCK_EPOCHS + graph
    table.add_row(
        f"stock keras, {STOCK_EPOCHS} epochs", f"{stock_seconds:.1f}", "1.0", "–", "–", "–", "–"
    )
    for name, results in found.items():
        times = statistics.median(result["train_seconds"] for result in results)
        test = [result["test_accuracy"] for result in results]
        table.add_row(
            f"{name}, {given.recipe}", f"{times:.1f}", f"{stock_seconds / times:.1f}",
            f"{statistics.mean(result['validation_accuracy'] for result in results):.2%}",
            f"{statistics.mean(test):.3%}", standard_error(test),
            f"{sum(accuracy >= ARTICLE for accuracy in test)} of {len(test)}",
        )  # fmt: skip
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
