"""One training in several processes: starts them, and ends all of them where one ends."""

import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from diptych import machine
from diptych.errors import command
from diptych.runs import Run
from diptych.training_job import follow_job, train_job
from diptych.worker import END_SECONDS, Worker, WorkerError
from diptych.workflows import registry

BY_FILE = ("torch",)
"""Workflows whose processes on one machine find each other by a file, which no other process can
replace."""


def train(
    run: Run, parameters: dict[str, Any], processes: int, report: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Does `training_job.train_job` in the first of several processes on this machine.

    Args:
        run: what is trained.
        parameters: of the job.
        processes: how many there are, 2 or more.
        report: called with what the first process reports.

    Returns:
        What the first process answers.

    Raises:
        WorkerError: a process has ended, or failed; the others have been ended.
    """
    environment = registry.environment(run.workflow) | environment_of(processes)
    failures: list[tuple[int, WorkerError]] = []
    leader_killed = threading.Event()
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="diptych-"))
        workers = [stack.enter_context(Worker(environment)) for _ in range(processes)]
        leader = workers[0]
        rendezvous = f"file://{Path(scratch).absolute() / 'rendezvous'}"
        if registry.module(run.workflow) not in BY_FILE:
            rendezvous = ",".join(free_addresses("127.0.0.1", processes))
        groups = [
            {"rank": rank, "size": processes, "rendezvous": rendezvous} for rank in range(processes)
        ]

        def follow(rank: int) -> None:
            try:
                workers[rank].call(follow_job, parameters | {"group": groups[rank]}, stops=False)
            except Exception as problem:
                reason = problem if isinstance(problem, WorkerError) else WorkerError(str(problem))
                failures.append((rank, reason))
                if leader.kill():
                    leader_killed.set()

        threads = [
            threading.Thread(target=follow, args=(rank,), daemon=True)
            for rank in range(1, processes)
        ]
        for thread in threads:
            thread.start()
        try:
            answer, _ = leader.call(train_job, parameters | {"group": groups[0]}, report=report)
        except WorkerError as problem:
            for thread in threads:  # Those that have lost it fail as well, and may say why.
                thread.join(END_SECONDS)
            if not leader_killed.is_set():
                failures.append((0, problem))
            raise told(run, failures, processes) from None
        if answer["status"] == "failed":
            return answer  # The others wait for the first one, and are ended.
        for thread in threads:
            thread.join()
    return answer


def free_addresses(host: str, count: int) -> list[str]:
    """Different free ports of this machine at that address, each as ``tcp://HOST:PORT``."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind((host, 0))
        return [f"tcp://{host}:{free.getsockname()[1]}" for free in sockets]


def told(run: Run, failures: list[tuple[int, WorkerError]], processes: int) -> WorkerError:
    """The error of a training in which a process ended: that one's, not theirs who have lost it."""
    ended = [failure for failure in failures if _is_end(str(failure[1]))]
    rank, problem = (ended or failures)[0]
    reason = str(problem).splitlines()[0].removeprefix("the worker process ")
    return WorkerError(
        f"process {rank + 1} of {processes} {reason}: {command('resume', run.folder)} continues, "
        "with as many processes or others"
    )


def _is_end(message: str) -> bool:
    return "ended by" in message or "was lost" in message


def environment_of(processes: int) -> dict[str, str]:
    """Environment variables that give each process its share of this machine's cores."""
    share = max(1, machine.cores() // processes)
    # gloo asks for the address of the machine's name, which a machine without a network has not.
    return machine.thread_variables(share) | {"GLOO_SOCKET_IFNAME": "lo"}
