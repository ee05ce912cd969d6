"""The items of a job with many steps, made while they are used."""

import time
from collections.abc import Callable, Sequence
from typing import Any

Report = Callable[[dict[str, Any]], None]
SIGN = 1.0
"""Seconds between two progress messages of a job with many steps."""


class Steps(Sequence[Any]):
    """A lazy sequence that reports progress while its items are computed, because the time limit of
    the audit is for one step, not for all."""

    def __init__(self, count: int, make: Callable[[int], Any], report: Report) -> None:
        self._count, self._make, self._report = count, make, report
        self._last = time.monotonic()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, step: Any) -> Any:
        if not 0 <= step < self._count:
            raise IndexError(step)
        if time.monotonic() > self._last + SIGN:
            self._last = time.monotonic()
            self._report({"step": step})
        return self._make(step)
