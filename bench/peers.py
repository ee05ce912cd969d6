"""Trainings of MNIST that others publish, measured here, and how long Diptych takes to the same.

Each peer is written anew from what its authors describe (`diptych.benchmarks.stock.peers`), and
trained as long as they do. All sides take turns, seed by seed, each in a process of its own. For
each peer Diptych climbs its ladder (`bench/rungs.py`), cheapest rung first, up to the first whose
mean accuracy over the same number of seeds is the peer's or more. Times are medians of training
alone: no start-up, validation or test, the making of graphs included.

    python bench/peers.py --seeds 3
    python bench/peers.py --seeds 1 --peers tinygrad,train-mnist-fast --threads 1
    python bench/peers.py --peers pytorch-examples --length 1     one epoch instead of fourteen

A line is appended to ``peers.jsonl`` after each training; what is in it is not trained again. A
peer that was cut short by ``--length`` is another peer, and the table says so. ``tinygrad`` is
installed by name and needs clang (``CC`` may name it).
"""

import argparse
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rungs import LADDER, Kept, Line, digest, limited_to, machine_line, measured
from trainings import mean_and_error

from diptych import extras
from diptych.benchmarks.stock.peers import PEERS
from diptych.worker import Worker

KEYS = ("side", "digest", "seed", "threads", "length")


def trained(name: str, seed: int, length: int, threads: int | None) -> Line:
    """Trains a peer once. Stock code promises no bits, so nothing may slow it down for them."""
    environment = {"TF_DETERMINISTIC_OPS": "0", "DEV": "CPU"} | limited_to(threads)
    with Worker(environment) as worker:
        parameters = {"peer": name, "seed": seed, "length": length}
        answer, _ = worker.call("benchmarks.stock.peers:peer_job", parameters)
    return answer


class Measured:
    """Trainings of all sides: from the file, or carried out now."""

    def __init__(self, file: Path, seeds: int, threads: int | None, console: Console) -> None:
        self.kept, self.seeds, self.threads = Kept(file, KEYS), seeds, threads
        self.console = console

    def peer(self, name: str, seed: int, length: int) -> Line:
        key = {"side": name, "seed": seed, "threads": self.threads, "length": length}
        line = self.kept.get(key, lambda: trained(name, seed, length, self.threads))
        self._say(name, line)
        return line

    def rung(self, name: str) -> list[Line]:
        """A rung's trainings, one a seed."""
        lines = []
        for seed in range(self.seeds):
            key = {"side": f"diptych {name}", "digest": digest(name)}
            key |= {"seed": seed, "threads": self.threads}
            lines.append(self.kept.get(key, lambda s=seed: measured(name, s, self.threads)))
            self._say(f"diptych {name}", lines[-1])
        return lines

    def _say(self, side: str, line: Line) -> None:
        self.console.print(
            f"{side}, seed {line['seed']}: {line['seconds']:.1f} s, "
            f"{line['processor_seconds']:.1f} s of processor time, {line['test_accuracy']:.4f}"
        )

    def matching(self, accuracy: float) -> tuple[str, list[Line]] | None:
        """The cheapest rung whose mean accuracy is at least that, and its trainings."""
        for name in LADDER:
            lines = self.rung(name)
            if mean(lines, "test_accuracy") >= accuracy:
                return name, lines
        return None


def mean(lines: list[Line], key: str) -> float:
    return statistics.mean(line[key] for line in lines)


def median(lines: list[Line], key: str) -> float:
    return statistics.median(line[key] for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--length", type=int, help="train shorter than the peers' authors do")
    parser.add_argument("--threads", type=int, help="as many as there are cores, if not given")
    parser.add_argument("--out", type=Path, default=Path("peers.jsonl"))
    options = parser.parse_args()
    names = options.peers.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers: no peer {unknown[0]!r}; expected some of {', '.join(PEERS)}")
    if min(options.seeds, options.length or 1, options.threads or 1) < 1:
        parser.error("--seeds, --length and --threads: expected 1 or more")
    if absent := extras.missing(PEERS[name].package for name in names):
        parser.error(f"--peers: {', '.join(absent)} not installed: install it, or leave it out")

    console = Console(width=160)
    sides = Measured(options.out, options.seeds, options.threads, console)
    lengths = {name: options.length or PEERS[name].length for name in names}
    lines: dict[str, list[Line]] = {name: [] for name in names}
    for seed in range(options.seeds):
        for name in names:
            lines[name].append(sides.peer(name, seed, lengths[name]))

    table = Table(
        "peer", "trained for", "seeds", "test, mean ± standard error", "seconds, median",
        "processor s", "diptych reaches it by", "test", "seconds", "processor s", "peer / diptych",
        "by processor", box=None,
    )  # fmt: skip
    for name in names:
        peer, own = PEERS[name], lines[name]
        length = f"{lengths[name]} {peer.unit}"
        if lengths[name] != peer.length:
            length += f" instead of {peer.length}"
        row = [
            name, f"{length}, {own[0]['images']:,} images", str(len(own)),
            mean_and_error([line["test_accuracy"] for line in own]),
            f"{median(own, 'seconds'):.1f}", f"{median(own, 'processor_seconds'):.1f}",
        ]  # fmt: skip
        match = sides.matching(mean(own, "test_accuracy"))
        if match is None:
            table.add_row(*row, "no rung", "–", "–", "–", "–", "–")
            continue
        rung, ours = match
        ratios = (
            f"{median(own, key) / median(ours, key):.1f}"
            for key in ("seconds", "processor_seconds")
        )
        table.add_row(
            *row, f"{rung} ({LADDER[rung].network}, {LADDER[rung].recipe})",
            mean_and_error([line["test_accuracy"] for line in ours]),
            f"{median(ours, 'seconds'):.1f}", f"{median(ours, 'processor_seconds'):.1f}", *ratios,
        )  # fmt: skip
    console.print(table)
    console.print(machine_line(options.threads))


if __name__ == "__main__":
    main()
