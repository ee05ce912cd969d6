"""Workers that serve one audit after another, so that a framework is imported once for many."""

import os
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

from diptych.auditing import side
from diptych.worker import Worker, WorkerError

JOBS = Path(__file__).with_name("kept_jobs")
AUDITS = 12
"""After so many a worker ends, and its memory with it."""
LIMIT = 20.0
"""Seconds that a kept worker may take to be ready for the next audit."""


class KeptWorker(Worker):
    """A worker that `close` keeps for the next side of the same environment."""

    idle: ClassVar[dict[str, list["KeptWorker"]]] = defaultdict(list)

    def __new__(
        cls, environment: dict[str, str] | None = None, python: str = "", command: str = ""
    ) -> "KeptWorker":
        kept = cls.idle[f"{environment} {python} {command}"]
        while kept:
            worker = kept.pop()
            try:
                worker.call("seeds:forget_job", {}, limit=LIMIT)
            except (WorkerError, TimeoutError):  # It may still be at work, or gone.
                Worker.close(worker)
                continue
            return worker
        return super().__new__(cls)

    def __init__(
        self, environment: dict[str, str] | None = None, python: str = "", command: str = ""
    ) -> None:
        self.audits = getattr(self, "audits", 0) + 1
        if self.audits == 1:
            self.key = f"{environment} {python} {command}"
            paths = [str(JOBS), *filter(None, [os.environ.get("PYTHONPATH")])]
            path = {"PYTHONPATH": os.pathsep.join(paths)}
            super().__init__((environment or {}) | path, python, command)

    def close(self) -> None:
        if self.is_alive and self.audits < AUDITS:
            self.idle[self.key].append(self)
        else:
            super().close()


def keep_workers() -> None:
    """Has all further audits of this process keep their workers."""
    side.Worker = KeptWorker


def end_workers() -> None:
    """Ends those that are kept."""
    for workers in KeptWorker.idle.values():
        while workers:
            Worker.close(workers.pop())
