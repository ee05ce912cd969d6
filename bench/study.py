"""The cost of a study beside its trainings: many small runs, here and through Ray.

    python bench/study.py --runs 1000

Prints tables in Markdown for `docs/results/study-overhead.md`. The runs train a small dense network
in the workflow `numpy` for about a second. The overhead of a run is the time from the end of the
run before it in the same process to its own end, less the seconds of its training, validation and
test.
"""

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from diptych import machine
from diptych.data import Data, Split, load_data
from diptych.data.saving import save_idx_folder
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run, find
from diptych.study.cluster import Ray
from diptych.study.executors import Executor, Local

IMAGES, EPOCHS = 4_400, 4
"""Of a run; with the dense network below that is about a second on one core."""
NETWORK = {
    "name": "dense",
    "input_shape": [28, 28, 1],
    "layers": [
        {"kind": "flatten"},
        {"kind": "dense", "units": 64, "activation": "relu"},
        {"kind": "dense", "units": 10},
    ],
}
EMPTY_TASKS = 1_000
ENDS = "ends.jsonl"


@dataclass(frozen=True)
class Figures:
    """Measurements of one way to carry out runs."""

    runs: int
    done: int
    seconds: float
    computing: float
    """Seconds of training, validation and test of a run, at the median."""
    overhead: float
    """Seconds of a run beside them, at the median."""
    slowest: float
    """The overhead that one run in twenty exceeds."""


class TimedRay(Ray):
    """Ray, with each task noting the process that it ran in and when it ended."""

    @staticmethod
    def task(folder: str, *rest: Any) -> None:
        Ray.task(folder, *rest)
        note = {"slot": os.getpid(), "run": folder, "ended": time.time()}
        # Short lines that are appended are whole.
        with (Path(folder).parent / ENDS).open("a") as file:
            file.write(json.dumps(note) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--kill-every", type=float, default=30.0, metavar="SECONDS")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="diptych-bench-") as scratch:
        measure(Path(scratch), given.runs, given.workers, given.kill_every)


def measure(folder: Path, count: int, workers: Sequence[int], kill_every: float) -> None:
    """Measures all ways, and prints a line of a table for each as it ends."""
    data = small_data(folder / "data")
    print(f"{count} runs each; {json.dumps(machine.describe())}\n")
    print("| carried out by | at once | done | seconds | of a run | overhead, median | 95% below |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for at_once in workers:
        runs = new_runs(folder / f"local-{at_once}", data, count)
        line("this machine", at_once, local(runs, at_once))
    heads = []
    for at_once in workers:
        with cluster(at_once) as address:
            heads.append((at_once, rate(address), *memory()))
            runs = new_runs(folder / f"ray-{at_once}", data, count)
            line("Ray", at_once, through_ray(runs, TimedRay(address)))
            heads[-1] += memory()
    began = time.perf_counter()
    known = len(find(folder / f"local-{workers[0]}"))
    looking = 1000 * (time.perf_counter() - began) / known
    with cluster(2) as address, killing(kill_every) as killed:
        runs = new_runs(folder / "killed", data, count)
        figures = through_ray(runs, TimedRay(address))
        line(f"Ray, {len(killed)} processes killed", 2, figures)
    print(f"\nA study looks through the folder of runs first: {looking:.1f} ms for each run there.")
    print("\n| at once | empty tasks per second | head before | head after | node before | after |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for at_once, tasks, head, node, head_after, node_after in heads:
        mib = " | ".join(f"{value:.0f} MiB" for value in (head, head_after, node, node_after))
        print(f"| {at_once} | {tasks:.0f} | {mib} |")


def line(name: str, at_once: int, of: Figures) -> None:
    """Prints a line of the table."""
    cells = [name, str(at_once), f"{of.done} of {of.runs}", f"{of.seconds:.0f}"]
    cells += [f"{of.computing:.2f} s", *(f"{1000 * v:.0f} ms" for v in (of.overhead, of.slowest))]
    print(f"| {' | '.join(cells)} |", flush=True)


def small_data(folder: Path) -> Data:
    """The first of MNIST's images, as a folder."""
    whole = load_data("mnist")
    train, validation, test = [
        Split(np.asarray(split.images[:count]), split.labels[:count])
        for split, count in (
            (whole.train, IMAGES),
            (whole.validation, IMAGES // 11),
            (whole.test, IMAGES // 11),
        )
    ]
    save_idx_folder(Data("few", "few", train, validation, test, whole.class_names), folder)
    time.sleep(3)  # The fingerprint of files that are this new is not kept.
    return load_data(folder)


def new_runs(root: Path, data: Data, count: int) -> list[Run]:
    """So many runs, each with a seed of its own."""
    network = Network.from_dict(NETWORK)
    recipe = Recipe.load("plain").with_changes(epochs=EPOCHS)
    return [Run.create(root, network, recipe, "numpy", data, seed) for seed in range(count)]


def local(runs: list[Run], at_once: int) -> Figures:
    """Carries them out on this machine; each thread of the executor is a slot."""
    ends: dict[str, tuple[int, float]] = {}

    def told(run: Run) -> None:
        ends[str(run.folder)] = threading.get_ident(), time.time()

    return timed(runs, Local(at_once), told, ends)


def through_ray(runs: list[Run], executor: TimedRay) -> Figures:
    """Carries them out through Ray; each of its processes is a slot."""
    return timed(runs, executor, lambda _: None, {})


def timed(
    runs: list[Run], executor: Executor, told: Any, ends: dict[str, tuple[int, float]]
) -> Figures:
    """The figures of runs, carried out."""
    began = time.perf_counter()
    executor.carry_out(runs, told)
    seconds = time.perf_counter() - began
    notes = runs[0].folder.parent / ENDS
    if notes.exists():
        for note in map(json.loads, notes.read_text().splitlines()):
            ends[note["run"]] = note["slot"], note["ended"]
    computing = {str(run.folder.absolute()): of_run(run) for run in runs if run.status == "done"}
    slots: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for folder, (slot, ended) in ends.items():
        slots[slot].append((ended, str(Path(folder).absolute())))
    overheads = []
    for of_slot in slots.values():
        ordered = sorted(of_slot)
        for (before, _), (ended, folder) in pairwise(ordered):
            overheads.append(ended - before - computing[folder])
    return Figures(
        len(runs),
        len(computing),
        seconds,
        statistics.median(computing.values()),
        statistics.median(overheads),
        float(np.quantile(overheads, 0.95)),
    )


def of_run(run: Run) -> float:
    """Seconds of a run's training, validation and test."""
    result = run.result() or {}
    return sum(result[f"{part}_seconds"] for part in ("train", "validation", "test"))


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Ray cluster of this machine with room for so many runs, for the time."""
    from ray.cluster_utils import Cluster

    room = {"num_cpus": workers, "memory": workers * 2**31, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=room)
    try:
        yield str(started.address)
    finally:
        started.shutdown()


def rate(address: str) -> float:
    """Tasks that do nothing, per second, once the processes are started."""
    import ray

    from diptych.ray_connection import connected

    with connected(address):
        nothing: Any = ray.remote(num_cpus=1)(lambda: None)
        ray.get([nothing.remote() for _ in range(100)])
        began = time.perf_counter()
        ray.get([nothing.remote() for _ in range(EMPTY_TASKS)])
        return EMPTY_TASKS / (time.perf_counter() - began)


def memory() -> tuple[float, float]:
    """MiB of the cluster's head (its global control store) and of a machine's own daemon."""
    return tuple(sum(map(resident, processes(name))) / 2**20 for name in ("gcs_server", "raylet"))  # type: ignore[return-value]


def processes(name: str) -> list[int]:
    """Processes of that program, or Ray's name, below this one."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            number = int(folder.name)
            stat = (folder / "stat").read_text()
            parents[number] = int(stat.rpartition(")")[2].split()[1])
            names[number] = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
        except (OSError, ValueError):
            continue

    def ours(number: int) -> bool:
        while number > 1:
            if number == os.getpid():
                return True
            number = parents.get(number, 0)
        return False

    return [n for n, given in names.items() if Path(given).name.startswith(name) and ours(n)]


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def killing(every: float) -> Iterator[list[int]]:
    """Kills one process of Ray's that is at work, every so many seconds; gives those killed."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(every):
            at_work = processes("ray::TimedRay") or processes("ray::task")
            if at_work:
                os.kill(at_work[0], signal.SIGKILL)
                killed.append(at_work[0])

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
