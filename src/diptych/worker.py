"""Runs one workflow in its own process.

Keras fixes its backend once a process, frameworks fight over threads and memory, and a fair
measurement needs a clean process. So the parent holds a `Worker`, the framework lives in its child,
and between them go messages (see `diptych.transport`).

The messages have pipes of their own, which nothing that the child forks or starts inherits; its
standard input is empty, and what it prints goes into a file that is shown if it fails. The child
(`diptych.child`) ends when its parent does: it watches the pipe that it takes requests from.
Whatever it has started ends with it, see `diptych.processes`.
"""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from diptych import processes, remote
from diptych.errors import InputError
from diptych.pipes import Pipe
from diptych.transport import Arrays, receive, send

Report = Callable[[dict[str, Any]], None]
"""Called with plain data while a job runs."""
Job = Callable[[dict[str, Any], Arrays, Report, Callable[[], bool]], tuple[dict[str, Any], Arrays]]
"""A job of a child process: (parameters, arrays, report, asked to stop?) to an answer."""
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "TF_DETERMINISTIC_OPS": "1",
}
"""The child's environment, independent of the user's settings: no log messages, and the same bits
for the same seed."""
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Ctrl-C, a batch system's request to end, a terminal that was closed, and Ctrl-\\."""
START_SECONDS = 300.0
"""For a job's imports. A framework takes seconds, on a machine that is busy a minute."""
END_SECONDS = 2.0
"""The time that a killed process, or one that has closed its pipe, may take to end."""
GLANCE = 0.5
"""Seconds between two looks at whether the child is alive, while it is waited for."""


def address(job: Job | str) -> str:
    """The ``module:function`` below ``diptych`` by which a child finds a job."""
    if isinstance(job, str):
        return job
    return f"{job.__module__.removeprefix('diptych.')}:{job.__name__}"


class WorkerError(RuntimeError):
    """The child process failed unexpectedly.

    The first line says what happened; the child's last output follows.
    """


class Worker:
    """A child process for one workflow; use it in a ``with`` statement."""

    def __init__(
        self, environment: dict[str, str] | None = None, python: str = "", command: str = ""
    ) -> None:
        """Starts the child.

        Args:
            environment: more or other environment variables than it would get.
            python: the Python that it runs in, which needs NumPy; this one if not given.
            command: what starts a Python somewhere else, such as ``ssh host python``.

        Raises:
            InputError: there is no such command, or a process here may not have the memory that
                it takes.
        """
        processes.check_address_space(processes.LEAST_ADDRESSES)
        # Both live as long as the child. It is killed when it is done with, so what its framework
        # writes for the time being (TensorFlow has a file a traced function) is for us to remove.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._scratch = tempfile.TemporaryDirectory(prefix="diptych-", ignore_cleanup_errors=True)
        self._mark, self._closed = uuid.uuid4().hex, False
        to_read, requests = os.pipe()
        answers, to_write = os.pipe()
        variables = ENVIRONMENT | {processes.MARK: self._mark} | (environment or {})
        self._by_command = bool(command)
        try:
            if command:
                self._process = self._far(command, to_read, to_write)
            else:
                self._process = self._near(python, variables, to_read, to_write)
        finally:
            os.close(to_read)
            os.close(to_write)
        if command:
            _write_all(requests, remote.code(variables))
        self._requests, self._answers = Pipe(requests), Pipe(answers)
        # A thread reads, since Ctrl-C in the middle of a message would lose its first half.
        self._inbox: queue.SimpleQueue[tuple[dict[str, Any], Arrays] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _near(
        self, python: str, variables: dict[str, str], to_read: int, to_write: int
    ) -> "subprocess.Popen[bytes]":
        """Starts a Python of this machine."""
        ours = {"TMPDIR": self._scratch.name}
        # -P: a person's file named tensorflow.py must not stand in for the framework.
        program = [sys.executable, "-P"]
        if python:
            program = [python]
            ours |= {"PYTHONPATH": remote.package_alone(self._scratch.name), "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(
            [*program, "-m", "diptych.supervisor", str(to_read), str(to_write)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(to_read, to_write),
            env=os.environ | variables | ours,
            start_new_session=True,  # Ctrl-C is for the parent, which then decides.
        )

    def _far(self, command: str, to_read: int, to_write: int) -> "subprocess.Popen[bytes]":
        """Starts a command, which has the pipes as its standard input and output."""
        try:
            return subprocess.Popen(
                remote.words(command),
                stdin=to_read,
                stdout=to_write,
                stderr=self._log,
                start_new_session=True,
            )
        except OSError as problem:
            reason = problem.strerror or problem
            raise InputError(f"command {command!r} cannot be started: {reason}") from None

    def _read(self) -> None:
        try:
            while (message := receive(self._answers)) is not None:
                self._inbox.put(message)
        except Exception:  # Whatever the bytes are, they are no message.
            self._inbox.put(({"type": "stray"}, {}))
        finally:
            self._inbox.put(None)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process that waits for the child, on Linux; elsewhere the child itself."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True if the child can still be asked for something."""
        return self._process.poll() is None

    def interrupt(self) -> None:
        """Asks the job under way, in whatever thread, to stop; its call then returns."""
        self._inbox.put(({"type": "interrupt"}, {}))

    def kill(self) -> bool:
        """Ends the child's process, so that a call under way fails; tells if it was still alive."""
        if (alive := self.is_alive) and not processes.kill_descendants(self.pid):
            self._process.kill()
        return alive

    def close(self) -> None:
        """Ends the child, whatever it does at the moment, and all that it has started."""
        if self._closed:
            return  # Its number may be another process's by now.
        self._closed = True
        if self._by_command:  # What is at its other end goes when nobody writes to it any more.
            self._requests.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
        processes.end(self._process.pid, self._mark)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        self._requests.close()
        self._answers.close()
        self._log.close()
        self._scratch.cleanup()

    def call(
        self,
        job: Job | str,
        parameters: dict[str, Any],
        arrays: Arrays | None = None,
        report: Report = lambda _: None,
        limit: float | None = None,
        stops: bool = True,
    ) -> tuple[dict[str, Any], Arrays]:
        """Has the child do one job and waits for the answer.

        Args:
            job: a function of a module below ``diptych``; its `address` if importing the module
                imports a framework, which is for the child alone.
            parameters: plain data for the job.
            arrays: arrays for the job.
            report: called with what the job reports while it runs.
            limit: seconds in which it must have reported or answered; for ever if not given.
            stops: whether the job stops when it is asked to. Where it does not, Ctrl-C is not
                passed on: the child still works, and only `close` is left.

        Raises:
            InputError: as the job raised it.
            KeyboardInterrupt: Ctrl-C was pressed; a job that stops was asked to, and has.
            OSError: ``report`` raised it, such as where the terminal was closed; a job that stops
                was asked to, and has.
            WorkerError: the child failed or ended.
            TimeoutError: the limit has passed; the child still works, and only `close` is left.
        """
        interrupted = started = False
        unreported: OSError | None = None

        def interrupt(*_: object) -> None:
            nonlocal interrupted
            if interrupted:
                raise KeyboardInterrupt
            interrupted = True
            self._inbox.put(({"type": "interrupt"}, {}))

        self._requests.limit = limit
        with _on_interrupt(interrupt, stops):
            with suppress(BrokenPipeError):  # The reader then finds that the child has gone.
                send(self._requests, {"job": address(job), "parameters": parameters}, arrays)
            while True:
                try:
                    message = self._next(START_SECONDS if limit is None and not started else limit)
                except TimeoutError:
                    if limit is not None:
                        raise
                    raise WorkerError(
                        f"the worker process did not start within {START_SECONDS:g} s (may it "
                        "have too little memory, or too few threads?)"
                    ) from None
                if message is None:
                    self._inbox.put(None)  # For the next call, which would wait forever.
                    raise WorkerError(self._ending())
                header, answer = message
                match header.get("type"):
                    case "started":
                        started = True
                    case "interrupt":
                        with suppress(BrokenPipeError):
                            send(self._requests, {"stop": True})
                    case "report" if not unreported:
                        try:
                            report(header["value"])
                        except OSError as problem:
                            if not stops:
                                raise
                            unreported = problem
                            self._inbox.put(({"type": "interrupt"}, {}))
                    case "report":
                        pass  # There is nobody to tell any more.
                    case "input error":
                        raise InputError(header["message"])
                    case "error":
                        raise WorkerError(f"the worker process failed: {header['message']}")
                    case "answer":
                        break
                    case _:
                        raise WorkerError(
                            "the worker process said what is no answer: the code in it writes to "
                            "a file descriptor that it has not opened"
                        )
        if interrupted:  # Judged where Ctrl-C is Python's own again, so that none is lost.
            raise KeyboardInterrupt
        if unreported:
            raise unreported
        return header["value"], answer

    def _next(self, limit: float | None) -> tuple[dict[str, Any], Arrays] | None:
        """The next message; None where the child has ended, even if something that it has left
        behind still holds its pipe."""
        until = None if limit is None else time.monotonic() + limit
        ended = False
        while True:
            left = GLANCE if until is None else min(GLANCE, until - time.monotonic())
            with suppress(queue.Empty):
                return self._inbox.get(timeout=max(0.0, left))
            if ended:
                return None
            ended = not self.is_alive  # What it said last may still be on its way.
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"no answer within {limit:g} s")

    def _ending(self) -> str:
        """The exit status of the child, and its last lines of output."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "the worker process closed its pipe (does its code close what it did not open?)"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2**16))
        last = self._log.read().decode(errors="replace").strip().splitlines()[-15:]
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
            if how == "SIGKILL":
                how += " (out of memory?)"
        return "\n".join([f"the worker process ended by {how}", *last])


def _write_all(descriptor: int, data: bytes) -> None:
    """Writes everything, unless there is no reader; the first message then detects that."""
    with suppress(BrokenPipeError):
        while data:
            data = data[os.write(descriptor, data) :]


@contextmanager
def _on_interrupt(do: Callable[..., None], wanted: bool) -> Iterator[None]:
    """Has ``do`` called where KeyboardInterrupt would be raised, which can be in any line.

    Signals go to the main thread; in any other thread there is nothing to do.
    """
    ours = []
    if wanted and threading.current_thread() is threading.main_thread():
        handler = signal.default_int_handler
        ours = [number for number in STOPPING_SIGNALS if signal.getsignal(number) is handler]
    try:
        for number in ours:
            signal.signal(number, do)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.default_int_handler)
