"""What a training step costs in each workflow, in microseconds a sample.

Each measurement is a process of its own. The sides take turns, so that what else the machine does
meets all of them, and the table gives medians and their ratio to the first side.

    python bench/steps.py --rounds 5 tensorflow:float32 tensorflow:bfloat16 keras:float32
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from diptych import Network, Recipe, load_data, machine, workflows
from diptych.data import Data, Split
from diptych.worker import ENVIRONMENT
from diptych.workflows import Progress

SIDES = ["tensorflow:float32", "tensorflow:bfloat16", "keras:float32", "keras:bfloat16"]
WARM_UP = 60
"""Steps before the clock starts: the first ones build graphs."""


class Clock:
    """A monitor that notes when each step ended, and stops after enough of them."""

    def __init__(self, steps: int) -> None:
        self.steps, self.ends = steps, []

    def advanced(self, progress: Progress, state: object) -> bool:
        self.ends.append((progress.step, time.perf_counter()))
        return progress.step >= self.steps

    def epoch_ended(self, progress: Progress, state: object) -> bool:
        return True


def measure(side: str, network: str, batch_size: int, steps: int) -> float:
    """Microseconds a sample of one training, as `diptych train` would do it, after a warm-up."""
    workflow, precision = side.split(":")
    recipe = Recipe.load("fast").with_changes(precision=precision, batch_size=batch_size)
    data = load_data("mnist")
    few = Split(data.validation.images[:1], data.validation.labels[:1])
    data = Data(**{**vars(data), "validation": few})
    clock = Clock(WARM_UP + steps)
    workflows.load(workflow)(Network.load(network), recipe, 0).fit(data, clock, Progress())
    first_step, first = next(end for end in clock.ends if end[0] >= WARM_UP)
    last_step, last = clock.ends[-1]
    return (last - first) / (last_step - first_step) / batch_size * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sides", nargs="*", default=SIDES, metavar="WORKFLOW:PRECISION")
    parser.add_argument("--network", default="article")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    an_epoch = 55_000 // given.batch_size
    if WARM_UP + given.steps > an_epoch:
        parser.error(f"{WARM_UP} + {given.steps} steps: an epoch at that batch size has {an_epoch}")
    if given.once:
        print(json.dumps(measure(given.sides[0], given.network, given.batch_size, given.steps)))
        return
    found: dict[str, list[float]] = {side: [] for side in given.sides}
    for _ in range(given.rounds):
        for side in given.sides:
            options = [f"--network={given.network}", f"--batch-size={given.batch_size}"]
            command = [sys.executable, __file__, side, "--once", *options, f"--steps={given.steps}"]
            environment = os.environ | ENVIRONMENT
            output = subprocess.run(
                command, env=environment, capture_output=True, check=True
            ).stdout
            found[side].append(json.loads(output.splitlines()[-1]))
    table = Table("side", "µs a sample, median", "lowest", "highest", "to the first", box=None)
    first = statistics.median(found[given.sides[0]])
    for side, values in found.items():
        median = statistics.median(values)
        cells = (median, min(values), max(values))
        table.add_row(side, *(f"{value:.0f}" for value in cells), f"{median / first:.2f}")
    console = Console()
    console.print(table)
    here = machine.describe()
    console.print(f"{here['processor']}, {here['cores']} cores, {machine.versions()}")


if __name__ == "__main__":
    main()
