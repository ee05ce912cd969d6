"""Runs one workflow in its own process.

Keras fixes its backend once a process, frameworks fight over threads and memory, and a fair
measurement needs a clean process. So the parent holds a `Worker`, the framework lives in its child,
and between them go messages (see `diptych.transport`).

The messages have pipes of their own, which nothing that the child forks or starts inherits; its
standard input is empty, and what it prints goes into a file that is shown if it fails. The child
ends when its parent does: it watches the pipe that it takes requests from. Whatever it has started
ends with it, see `diptych.processes`.
"""

import importlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from diptych import processes
from diptych.errors import InputError
from diptych.pipes import Pipe
from diptych.transport import Arrays, receive, send

Report = Callable[[dict[str, Any]], None]
"""Called with plain data while a job runs."""
Job = Callable[[dict[str, Any], Arrays, Report, Callable[[], bool]], tuple[dict[str, Any], Arrays]]
"""What a child can be asked to do: (parameters, arrays, report, asked to stop?) to an answer."""

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "TF_DETERMINISTIC_OPS": "1",
}
"""What the child gets whatever the person has set: no chatter, the same bits for the same seed."""
END_SECONDS = 2.0
"""How long it may take a process that was killed, or that has closed its pipe, to be gone."""
GLANCE = 0.5
"""Seconds between two looks at whether the child is alive, while it is waited for."""


class WorkerError(RuntimeError):
    """The child failed in a way that nobody asked for.

    The first line says what happened; what the child said last comes below it.
    """


class Worker:
    """A child process for one workflow; use it in a ``with`` statement."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        """Starts the child, with more or other environment variables than it would get."""
        # Both live as long as the child. It is killed when it is done with, so what its framework
        # writes for the time being (TensorFlow has a file a traced function) is for us to remove.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._scratch = tempfile.TemporaryDirectory(prefix="diptych-", ignore_cleanup_errors=True)
        self._mark, self._closed = uuid.uuid4().hex, False
        to_read, requests = os.pipe()
        answers, to_write = os.pipe()
        ours = {"TMPDIR": self._scratch.name, processes.MARK: self._mark}
        try:
            self._process = subprocess.Popen(
                # -P: a person's file named tensorflow.py must not stand in for the framework.
                [sys.executable, "-P", "-m", "diptych.worker", str(to_read), str(to_write)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(to_read, to_write),
                env=os.environ | ENVIRONMENT | ours | (environment or {}),
                start_new_session=True,  # Ctrl-C is for the parent, which then decides.
            )
        finally:
            os.close(to_read)
            os.close(to_write)
        self._requests, self._answers = Pipe(requests), Pipe(answers)
        # A thread reads, since Ctrl-C in the middle of a message would lose its first half.
        self._inbox: queue.SimpleQueue[tuple[dict[str, Any], Arrays] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

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
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the child can still be asked for something."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the child, whatever it does at the moment, and all that it has started."""
        if self._closed:
            return  # Its number may be another process's by now.
        self._closed = True
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
        job: str,
        parameters: dict[str, Any],
        arrays: Arrays | None = None,
        report: Report = lambda _: None,
        limit: float | None = None,
        stops: bool = True,
    ) -> tuple[dict[str, Any], Arrays]:
        """Has the child do one job and waits for the answer.

        Args:
            job: ``module:function`` below ``diptych``, such as ``training_job:train_job``.
            parameters: plain data for the job.
            arrays: arrays for the job.
            report: called with what the job reports while it runs.
            limit: seconds in which it must have reported or answered; for ever if not given.
            stops: whether the job stops when it is asked to. Where it does not, Ctrl-C is not
                passed on: the child still works, and only `close` is left.

        Raises:
            InputError: as the job raised it.
            KeyboardInterrupt: Ctrl-C was pressed; a job that stops was asked to, and has.
            WorkerError: the child failed or ended.
            TimeoutError: the limit has passed; the child still works, and only `close` is left.
        """
        interrupted = False

        def interrupt(*_: object) -> None:
            nonlocal interrupted
            if interrupted:
                raise KeyboardInterrupt
            interrupted = True
            self._inbox.put(({"type": "interrupt"}, {}))

        self._requests.limit = limit
        with _on_interrupt(interrupt, stops):
            with suppress(BrokenPipeError):  # The reader then finds that the child has gone.
                send(self._requests, {"job": job, "parameters": parameters}, arrays)
            while True:
                message = self._next(limit)
                if message is None:
                    self._inbox.put(None)  # For the next call, which would wait forever.
                    raise WorkerError(self._ending())
                header, answer = message
                match header.get("type"):
                    case "interrupt":
                        with suppress(BrokenPipeError):
                            send(self._requests, {"stop": True})
                    case "report":
                        report(header["value"])
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
        """How the child ended, and the last lines that it wrote."""
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


@contextmanager
def _on_interrupt(do: Callable[..., None], wanted: bool) -> Iterator[None]:
    """Has ``do`` called where KeyboardInterrupt would be raised, which can be in any line.

    Signals go to the main thread; in any other thread there is nothing to do.
    """
    ours = []
    if wanted and threading.current_thread() is threading.main_thread():
        signals = (signal.SIGINT, signal.SIGTERM)
        ours = [each for each in signals if signal.getsignal(each) is signal.default_int_handler]
    try:
        for each in ours:
            signal.signal(each, do)
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.default_int_handler)


def serve(requests: Pipe, answers: Pipe) -> None:
    """The child's life: does one job after the other until the parent goes."""
    inbox: queue.Queue[tuple[dict[str, Any], Arrays]] = queue.Queue()
    stop = threading.Event()

    def say(message: dict[str, Any], arrays: Arrays | None = None) -> None:
        try:
            send(answers, message, arrays)
        except OSError:
            leave()

    def listen() -> None:
        try:
            while (message := receive(requests)) is not None:
                if message[0].get("stop"):
                    stop.set()
                else:
                    inbox.put(message)
        finally:
            leave()  # The parent has gone, and nobody waits for the job under way.

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request, arrays = inbox.get()
        module, function = request["job"].split(":")
        try:
            job: Job = getattr(importlib.import_module(f"diptych.{module}"), function)
            value, answer = job(
                request["parameters"],
                arrays,
                lambda value: say({"type": "report", "value": value}),
                stop.is_set,
            )
            say({"type": "answer", "value": value}, answer)
        except InputError as problem:
            say({"type": "input error", "message": str(problem)})
        except Exception as problem:
            what = " ".join("".join(traceback.format_exception_only(problem)).split())
            say({"type": "error", "message": f"{what}\n{traceback.format_exc().rstrip()}"})
        stop.clear()


def leave() -> None:
    """Ends this process and all that it has started, now."""
    with suppress(Exception):
        processes.end_descendants(os.environ.get(processes.MARK, ""))
    os._exit(1)


def main() -> None:
    """Takes requests and gives answers over the descriptors that the arguments name."""
    requests, answers = (Pipe(int(descriptor)) for descriptor in sys.argv[1:3])
    processes.adopt_orphans()
    serve(requests, answers)


if __name__ == "__main__":
    main()
