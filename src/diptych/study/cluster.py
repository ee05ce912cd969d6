"""Runs on a Ray cluster: each is a task that Ray puts where there is room."""

import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from diptych import extras
from diptych.ray_connection import connected
from diptych.runs import Run
from diptych.study.executors import Told, memory_of
from diptych.study.storage import Storage, share_data, take_home, train_there
from diptych.study.workers import Workers
from diptych.worker import WorkerError

logger = logging.getLogger(__name__)

IN_FLIGHT = 1_000
"""Tasks that are handed to Ray at a time: `ray.wait` looks at each of them each time."""
LOOK_SECONDS = 0.2
"""Between two looks at a run that another process is still training."""


_kept: dict[int, Workers] = {}
"""By their threads, the worker processes of this process, which is one of Ray's."""


def _task(folder: str, cores: int, url: str | None, description: dict[str, Any] | None) -> None:
    """One run, on whatever machine Ray has chosen."""
    workers = _kept.setdefault(cores, Workers(cores))
    if url is not None and description is not None:
        train_there(Storage(url), Path(folder).name, description, workers.carry_out)
        return
    run = Run(Path(folder))
    while run.is_training:  # By a process that Ray takes for lost, and which has not noticed yet.
        time.sleep(LOOK_SECONDS)
    workers.carry_out(run)


class Ray:
    """A Ray cluster.

    All machines must see the folder of runs, unless there is a storage. If a machine is lost, its
    tasks are started again on another one and continue from the newest checkpoint of the run.

    Args:
        address: of a running cluster as ``ray.init`` takes it, ``auto``, or ``local`` for one that
            is started on this machine for the time.
        storage: where the machines keep the runs; a folder or what fsspec opens. Runs that have
            ended are copied from there into the folder of runs.
        dashboard: called with the address of Ray's own dashboard, where it is asked for.
        cores: how many cores a run takes.
    """

    RETRIES = 5
    task = staticmethod(_task)
    """One run, on the machine that Ray has chosen."""

    def __init__(
        self,
        address: str,
        storage: str | None = None,
        dashboard: Callable[[str], None] | None = None,
        cores: int = 1,
    ) -> None:
        self.address, self.dashboard, self.cores = address, dashboard, cores
        self.storage_path = storage

    def carry_out(self, runs: Sequence[Run], told: Told) -> None:
        """As `Executor` says."""
        storage = None
        if self.storage_path is not None:
            extras.require("study --storage-path", "fsspec")
            storage = Storage(self.storage_path)
            storage.check()
        with connected(self.address, self.dashboard):
            if storage is not None:
                for run in runs:
                    share_data(storage, run)
            self._carry_out(runs, told, storage)

    def _carry_out(self, runs: Sequence[Run], told: Told, storage: Storage | None) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        memory = max(memory_of(run.workflow) for run in runs)
        _warn_without_room(self.cores, memory)
        options: Any = {"num_cpus": self.cores, "memory": memory, "max_retries": self.RETRIES}
        remote: Any = ray.remote(**options)(self.task)
        left = iter(runs)
        waiting: dict[Any, Run] = {}

        def hand_over(count: int) -> None:
            for run in islice(left, count):
                parts = (storage.url, run.description()) if storage else (None, None)
                waiting[remote.remote(str(run.folder.absolute()), self.cores, *parts)] = run

        hand_over(IN_FLIGHT)
        while waiting:
            [ended], _ = ray.wait(list(waiting))
            run = waiting.pop(ended)
            try:
                ray.get(ended)
            except RayTaskError as problem:
                raise problem.cause from None
            except RayError as problem:
                reason = str(problem).splitlines()[0]
                raise WorkerError(
                    f"run {run.folder}: its machine or its process was lost {self.RETRIES + 1} "
                    f"times ({reason}); the study goes on when it is run again"
                ) from None
            if storage:
                take_home(storage, run)
            told(run)
            hand_over(1)


def _warn_without_room(cores: int, memory: int) -> None:
    """Says where no machine of the cluster has what a run takes: Ray waits for one in silence."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(m.get("CPU", 0) >= cores and m.get("memory", 0) >= memory for m in machines):
        logger.warning(
            "warning: no machine of the cluster has the %d core and %.1f GiB that a run takes; "
            "waiting for one that has",
            cores,
            memory / 2**30,
        )
