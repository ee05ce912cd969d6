"""Ends a process together with everything that it has started, however that tried to get away.

A process that forks twice, or starts a session of its own, leaves its group and its parent. So
there are three ways to find it: by its group, by its ancestors (a worker adopts its orphans, and
where it has ended `supervise` does), and by a mark in its environment that all descendants inherit.
The last two need `/proc`, which Linux has.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from diptych.errors import InputError

MARK = "DIPTYCH_WORKER"
"""The environment variable that a worker and all its descendants share."""
PROC = Path("/proc")
LEAST_ADDRESSES, LEAST_FOR_A_COMMAND = 2**30, 2**28
"""Bytes for a worker, and for a command alone. With less, the libraries under NumPy and SciPy do
not fail as they start: they wait for ever for threads that there is no room for."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TRACKER = b"multiprocessing.resource_tracker"
"""Python's process that removes what others left in shared memory, once they have ended."""
TRACKER_SECONDS = 20.0
"""The time that it may take for that, in seconds."""
ENDING = 5.0
"""Seconds for which processes are looked for and killed again: one may start another meanwhile, and
on a busy machine a thousand that are killed take a while to be gone."""


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
    _control(PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def supervise(descriptors: Iterable[int]) -> None:
    """Goes on in a fork. This process waits for it, kills all that it has left, and ends as it did.

    So nothing stays behind if the fork is killed, or ends without a word, after it has started a
    program that has neither its session nor its environment. The fork is killed if this process is.
    Only on Linux; elsewhere nothing happens.

    Args:
        descriptors: those that only the fork needs.
    """
    if sys.platform != "linux":
        return
    adopt_orphans()
    supervisor = os.getpid()
    fork = os.fork()
    if not fork:
        _control(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        return
    for descriptor in descriptors:
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(_waited_for(fork))
    _kill_until_none(lambda: {n for n in descendants(supervisor) if not _is_tracker(n)})
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # The fork has left its image, if wanted.
        with suppress(OSError, ValueError):  # SIGKILL takes no handler.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(supervisor, -code)
    os._exit(code)


def _waited_for(process: int) -> int:
    """The status with which a child ends; other children, such as adopted ones, may end before."""
    while True:
        ended, status = os.wait()
        if ended == process:
            return status


def end(process: int, mark: str) -> None:
    """Kills a process that leads a group, its group, its descendants and all that have its mark.

    Args:
        process: the process; it may have ended already.
        mark: the value of `MARK` in its environment.
    """
    trackers: set[int] = set()
    until = time.monotonic() + ENDING
    while time.monotonic() < until:
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
    own = {os.getpid(), os.getppid()}  # The parent may be the one that supervises this process.
    _kill_until_none(lambda: (descendants(os.getpid()) | marked(mark)) - own)


def kill_descendants(process: int) -> bool:
    """Kills what a process has started, as far as it is there; tells if there was something."""
    there = descendants(process)
    _kill(there)
    return bool(there)


def _kill_until_none(find: Callable[[], set[int]]) -> None:
    until = time.monotonic() + ENDING
    while (there := find()) and time.monotonic() < until:
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
