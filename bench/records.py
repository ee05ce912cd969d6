"""How long Diptych trains to a mean accuracy on MNIST: one rung, over several seeds.

Each seed is a process of its own. Its time runs from the first look at a training image to the last
step, the making of graphs included, validation and test left out. The number of epochs is the
recipe's, fixed beforehand. Processor time counts all threads together: on a machine that does
something else it tells more than the seconds.

    python bench/records.py --rung 99.0 --seeds 10
    python bench/records.py --rung 99.3 --seeds 3 --threads 1
    python bench/records.py --rung under-5000 --seeds 3      a network of few parameters

A line is appended to ``records.jsonl`` after each training; what is in it is not trained again.
"""

import argparse
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rungs import RUNGS, Kept, Line, digest, machine_line, measured
from trainings import mean_and_error

KEYS = ("rung", "digest", "seed", "threads")


def table(name: str, lines: list[Line]) -> Table:
    """The rung's row: accuracies, seconds, processor seconds, and what was asked for."""
    rung = RUNGS[name]
    shown = Table(
        "rung", "network", "recipe", "workflow", "seeds", "seconds, median", "range",
        "of it compiling", "processor seconds", "validation", "test", "seeds at it", box=None,
    )  # fmt: skip
    seconds = [line["seconds"] for line in lines]
    test = [line["test_accuracy"] for line in lines]
    shown.add_row(
        name, rung.network, f"{rung.recipe}, {lines[0]['epochs']} epochs, {lines[0]['precision']}",
        rung.workflow, str(len(lines)), f"{statistics.median(seconds):.1f}",
        f"{min(seconds):.1f} to {max(seconds):.1f}",
        f"{statistics.median(line['compile_seconds'] for line in lines):.1f}",
        f"{statistics.median(line['processor_seconds'] for line in lines):.1f}",
        mean_and_error([line["validation_accuracy"] for line in lines]), mean_and_error(test),
        f"{sum(accuracy >= rung.target for accuracy in test)} of {len(test)}",
    )  # fmt: skip
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rung", choices=RUNGS, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--threads", type=int, help="as many as there are cores, if not given")
    parser.add_argument("--out", type=Path, default=Path("records.jsonl"))
    options = parser.parse_args()
    if options.seeds < 1 or (options.threads or 1) < 1:
        parser.error("--seeds and --threads: expected 1 or more")
    console, kept = Console(width=160), Kept(options.out, KEYS)
    lines: list[Line] = []
    for seed in range(options.seeds):
        key = {"rung": options.rung, "digest": digest(options.rung)}
        key |= {"seed": seed, "threads": options.threads}
        line = kept.get(key, lambda s=seed: measured(options.rung, s, options.threads))
        lines.append(line)
        console.print(
            f"seed {seed}: {line['seconds']:.1f} s, {line['processor_seconds']:.1f} s of processor "
            f"time, validation {line['validation_accuracy']:.4f}, test {line['test_accuracy']:.4f}"
        )
    console.print(table(options.rung, lines))
    rung, mean = RUNGS[options.rung], statistics.mean(line["test_accuracy"] for line in lines)
    outcome = "reached" if mean >= rung.target else "missed"
    console.print(
        f"mean {mean:.3%}, asked for {rung.target:.2%}: {outcome}"
        + (f"; goal {rung.goal:g} s on two cores that do nothing else" if rung.goal else "")
    )
    console.print(machine_line(options.threads))


if __name__ == "__main__":
    main()
