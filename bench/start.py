"""How long the commands take that should answer at once: seconds, the median of several starts.

python bench/start.py --rounds 10
"""

import argparse
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

PYTHON = [sys.executable, "-c"]
COMMANDS = {
    "python -c pass": [*PYTHON, "pass"],
    "diptych --help": [sys.executable, "-m", "diptych.cli", "--help"],
    "diptych summary article": [sys.executable, "-m", "diptych.cli", "summary", "article"],
    "diptych runs": [sys.executable, "-m", "diptych.cli", "runs"],
    "diptych data info mnist": [sys.executable, "-m", "diptych.cli", "data", "info", "mnist"],
    "load_data('mnist')": [*PYTHON, "import diptych; diptych.load_data('mnist')"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if number:  # The first round fills the file cache.
                found[name].append(time.perf_counter() - start)
    table = Table("command", "seconds, median", "lowest", "highest", box=None)
    for name, values in found.items():
        cells = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{value:.2f}" for value in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
