"""Who carries out the runs of a study: this machine here, a Ray cluster in `cluster`."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from diptych import machine, training
from diptych.runs import Run
from diptych.study.workers import Workers, quiet
from diptych.workflows import registry

Told = Callable[[Run], None]
"""Called with each run that has ended."""
MEMORY = {"tensorflow": 1.5, "keras": 1.5, "keras@jax": 2.0, "keras@torch": 2.0, "jax": 1.25}
"""GiB that a run of a workflow takes: its peak with the article's network, and some to spare."""
OTHER_MEMORY = 1.0
"""GiB of the workflows that `MEMORY` does not name."""


class Executor(Protocol):
    """Carries out runs."""

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """Trains the runs to their ends.

        Raises:
            InputError: a run cannot be trained, or the executor cannot be had.
            KeyboardInterrupt: Ctrl-C; runs under way go on from their checkpoints.
            TrainingFailed: a loss stopped being a number.
            WorkerError: a run's process failed.
        """
        ...


def train_all(
    runs: Sequence[Run], executor: Executor, progress: Callable[[int, int], None]
) -> None:
    """Trains what has not ended of some runs.

    Args:
        runs: the runs; one that is there twice is one.
        executor: who trains them.
        progress: called with how many have ended, of how many, at first and after each.
    """
    every = {run.folder: run for run in runs}
    left = [run for run in every.values() if run.status != "done"]
    ended = len(every) - len(left)
    progress(ended, len(every))
    if not left:
        return

    def told(_: Run) -> None:
        nonlocal ended
        ended += 1
        progress(ended, len(every))

    executor.carry_out(left, told)


def memory_of(workflow: str) -> int:
    """Bytes that a run of a workflow takes, for deciding how many there is room for."""
    registry.check_name(workflow)
    return int(MEMORY.get(workflow, OTHER_MEMORY) * 2**30)


def room(runs: Sequence[Run]) -> int:
    """The number of runs that the cores and memory of this machine allow at once, at least 1."""
    largest = max((memory_of(run.workflow) for run in runs), default=memory_of("numpy"))
    free = machine.free_memory()
    by_memory = machine.cores() if free is None else free // largest
    return max(1, min(machine.cores(), by_memory, len(runs)))


class Local:
    """This machine.

    One run at a time has a clean process and all cores, so that its times mean something. Several
    share the cores, and their processes stay started from run to run.

    Args:
        at_once: how many run at once; None for as many as cores and memory allow.
    """

    def __init__(self, at_once: int | None = 1) -> None:
        self.at_once = at_once

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """As `Executor` says."""
        at_once = self.at_once or room(runs)
        if at_once == 1:
            for run in runs:
                training.carry_out(run, quiet)
                told(run)
            return
        threads = max(1, machine.cores() // at_once)
        workers = [Workers(threads) for _ in range(at_once)]
        idle = list(workers)
        lock = threading.Lock()

        def one(run: Run) -> None:
            with lock:
                ours = idle.pop()
            try:
                ours.carry_out(run)
            finally:
                idle.append(ours)
            if run.status == "done":
                with lock:
                    told(run)

        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(one, run) for run in runs]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:  # The others are saved, and none begins.
                pool.shutdown(wait=False, cancel_futures=True)
                for kept in workers:
                    kept.stop()
                raise
            finally:
                pool.shutdown()
                for kept in workers:
                    kept.close()
