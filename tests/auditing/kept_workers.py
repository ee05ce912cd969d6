"""Workers that serve one audit after another, so that a framework is imported once for many."""

from collections import defaultdict
from typing import ClassVar

from diptych.auditing import side
from diptych.worker import Worker

AUDITS = 12
"""After so many a worker ends, and its memory with it."""


class KeptWorker(Worker):
    """A worker that `close` keeps for the next side of the same environment."""

    idle: ClassVar[dict[str, list["KeptWorker"]]] = defaultdict(list)

    def __new__(
        cls, environment: dict[str, str] | None = None, python: str = "", command: str = ""
    ) -> "KeptWorker":
        kept = cls.idle[f"{environment} {python} {command}"]
        while kept:
            worker = kept.pop()
            if worker.is_alive:
                return worker
            Worker.close(worker)
        return super().__new__(cls)

    def __init__(
        self, environment: dict[str, str] | None = None, python: str = "", command: str = ""
    ) -> None:
        self.audits = getattr(self, "audits", 0) + 1
        if self.audits == 1:
            self.key = f"{environment} {python} {command}"
            super().__init__(environment, python, command)

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
