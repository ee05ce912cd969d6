"""Worker processes that stay started from run to run.

A framework takes seconds to start, and a small run one. What is measured of single runs, such as
times, comes from clean processes instead.
"""

import threading
from types import TracebackType

from diptych import machine, training
from diptych.events import Event
from diptych.runs import Run
from diptych.training import Report
from diptych.worker import Worker
from diptych.workflows import registry

MOST_RUNS = 100
"""Of one process: frameworks keep what they have compiled for each network."""


def quiet(event: Event) -> None:
    """Reports nothing."""


class Workers:
    """One worker process per workflow; use it in a ``with`` statement.

    Args:
        threads: in how many threads each computes.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._started: dict[str, tuple[Worker, int]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def carry_out(self, run: Run, report: Report = quiet) -> None:
        """Trains a run to its end, or until `stop` is called.

        Raises:
            InputError, TrainingFailed, WorkerError: as `diptych.training.carry_out` does.
        """
        with self._lock:
            if self._stopped:
                return
            worker = self._worker(run.workflow)
        try:
            training.carry_out(run, report, worker=worker)
        except BaseException:
            with self._lock:  # It may still be at work, or gone.
                self._started.pop(run.workflow, None)
            worker.close()
            raise

    def _worker(self, workflow: str) -> Worker:
        worker, count = self._started.get(workflow, (None, 0))
        if worker is not None and (count >= MOST_RUNS or not worker.is_alive):
            worker.close()
            worker, count = None, 0
        if worker is None:
            variables = machine.thread_variables(self.threads)
            worker = Worker(registry.environment(workflow) | variables)
        self._started[workflow] = worker, count + 1
        return worker

    def stop(self) -> None:
        """Has a run under way, in another thread, saved and stopped; none begins after it."""
        with self._lock:
            self._stopped = True
            for worker, _ in self._started.values():
                worker.interrupt()

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            for worker, _ in self._started.values():
                worker.close()
            self._started.clear()
