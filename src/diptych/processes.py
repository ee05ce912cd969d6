"""Ends a process together with everything that it has started, however that tried to get away.

A process that forks twice, or starts a session of its own, leaves its group and its parent. So
there are three ways to find it: by its group, by its ancestors (a worker adopts its orphans, see
`adopt_orphans`), and by a mark in its environment that all descendants inherit. The last two need
`/proc`, which Linux has.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from diptych.errors import InputError

MARK = "DIPTYCH_WORKER"
"""The environment variable that a worker and all its descendants share."""
PROC = Path("/proc")
LEAST_ADDRESSES, LEAST_FOR_A_COMMAND = 2**30, 2**28
"""Bytes for a worker, and for a command alone. With less, the libraries under NumPy and SciPy do
not fail as they start: they wait for ever for threads that there is no room for."""
PR_SET_CHILD_SUBREAPER = 36
TRACKER = b"multiprocessing.resource_tracker"
"""Python's process that removes what others left in shared memory, once they have ended."""
TRACKER_SECONDS = 20.0
"""The time that it may take for that, in seconds."""
ROUNDS = 20
"""A process may start another one while it is looked for; so often is looked again."""


def check_address_space(least: int) -> None:
    """Raises InputError where a process may have fewer bytes of addresses (``ulimit -v``)."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < least:
        raise InputError(
            f"memory is limited to {limit // 2**20:,} MiB of addresses (ulimit -v), expected "
            f"{least // 2**20:,} MiB at least, or no limit"
        )


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent has ended, on Linux."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end(process: int, mark: str) -> None:
    """Kills a process that leads a group, its group, its descendants and all that have its mark.

    Args:
        process: the process; it may have ended already.
        mark: the value of `MARK` in its environment.
    """
    trackers: set[int] = set()
    for _ in range(ROUNDS):
        there = (descendants(process) | marked(mark)) - {os.getpid(), process}
        trackers |= {each for each in there if _is_tracker(each)}
        if not there - trackers:
            break
        _kill(there - trackers)
        time.sleep(0.005)
    _kill([process])
    _wait(trackers, TRACKER_SECONDS)
    _kill(trackers)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


def end_descendants(mark: str) -> None:
    """Kills what this process has started; it calls this as the last thing that it does."""
    for _ in range(ROUNDS):
        there = (descendants(os.getpid()) | marked(mark)) - {os.getpid()}
        if not there:
            return
        _kill(there)
        time.sleep(0.005)


def descendants(process: int) -> set[int]:
    """Children, their children, and so on, by what `/proc` says; none where there is no such."""
    children: dict[int, list[int]] = {}
    for number, parent in _parents():
        children.setdefault(parent, []).append(number)
    below: set[int] = set()
    waiting = [process]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in below:
                below.add(child)
                waiting.append(child)
    return below


def marked(mark: str) -> set[int]:
    """The processes of this user that have the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    there: set[int] = set()
    for number in _numbers():
        with suppress(OSError):
            if wanted in (PROC / str(number) / "environ").read_bytes().split(b"\0"):
                there.add(number)
    return there


def _numbers() -> list[int]:
    try:
        return [int(each.name) for each in PROC.iterdir() if each.name.isdecimal()]
    except OSError:
        return []


def _parents() -> Iterable[tuple[int, int]]:
    for number in _numbers():
        with suppress(OSError, ValueError, IndexError):
            status = (PROC / str(number) / "stat").read_bytes()
            state, parent = status.rpartition(b")")[2].split()[:2]  # A name may hold anything.
            if state != b"Z":
                yield number, int(parent)


def _is_tracker(process: int) -> bool:
    try:
        return TRACKER in (PROC / str(process) / "cmdline").read_bytes()
    except OSError:
        return False


def _kill(processes: Iterable[int]) -> None:
    for each in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _wait(processes: set[int], seconds: float) -> None:
    """Waits until the processes have ended, or so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any((PROC / str(each)).exists() for each in processes):
        time.sleep(0.01)
