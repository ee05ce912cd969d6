"""Who carries out the runs of a study: this machine, or a Ray cluster."""

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from diptych import extras, training
from diptych.errors import InputError
from diptych.events import Event
from diptych.runs import Run

SECONDS = 5.0
"""How long a cluster may take to answer at all."""
Told = Callable[[Run], None]
"""Called with each run that has ended."""


class Executor(Protocol):
    """Carries out runs."""

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """Trains the runs to their ends.

        Raises:
            InputError: a run cannot be trained, or the executor cannot be had.
            KeyboardInterrupt: Ctrl-C; runs under way have been saved.
            TrainingFailed: a loss stopped being a number.
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

    def told(_: Run) -> None:
        nonlocal ended
        ended += 1
        progress(ended, len(every))

    executor.carry_out(left, told)


class Local:
    """This machine: each run in a process of its own.

    Args:
        at_once: how many run at once. More than one disturbs the times that runs measure.
    """

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """As `Executor` says."""
        stopped = threading.Event()

        def one(run: Run) -> None:
            if stopped.is_set():
                return
            try:
                training.carry_out(run, _quiet)
            except BaseException:
                stopped.set()  # The others end what they are at, and begin nothing else.
                raise
            told(run)

        if self.at_once == 1:
            for run in runs:
                one(run)
            return
        with ThreadPoolExecutor(self.at_once) as pool:
            for future in [pool.submit(one, run) for run in runs]:
                future.result()


class Ray:
    """A Ray cluster: each run is a task that Ray puts where there is room.

    The folder of runs must be one that all machines see. A task whose machine is lost is started
    again elsewhere and goes on from the run's newest checkpoint.

    Args:
        address: of a running cluster as ``ray.init`` takes it, ``auto``, or ``local`` for one that
            is started on this machine for the time.
        cores: how many cores a run takes.
    """

    RETRIES = 5

    def __init__(self, address: str, cores: float = 1.0) -> None:
        self.address, self.cores = address, cores

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """As `Executor` says."""
        extras.require("study --ray", "ray")
        import ray
        from ray.exceptions import RayTaskError

        try:
            _check_answers(self.address)
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as problem:
            reason = str(problem).splitlines()[0]
            raise InputError(
                f"--ray {self.address}: no cluster answers there ({reason}): start one with "
                "`ray start --head`, or give --ray local"
            ) from None
        try:
            task = ray.remote(num_cpus=self.cores, max_retries=self.RETRIES)(_task)
            waiting = {task.remote(str(run.folder.absolute())): run for run in runs}
            while waiting:
                [ended], _ = ray.wait(list(waiting))
                try:
                    ray.get(ended)
                except RayTaskError as problem:
                    raise problem.as_instanceof_cause() from None
                told(waiting.pop(ended))
        finally:
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises OSError where nothing answers at ``host:port``: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=SECONDS):
            pass


def _task(folder: str) -> None:
    """One run, on whatever machine Ray has chosen."""
    training.carry_out(Run(Path(folder)), _quiet)


def _quiet(event: Event) -> None:
    pass
