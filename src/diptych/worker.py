"""Runs one workflow in its own process.

Keras fixes its backend once a process, frameworks fight over threads and memory, and a fair
measurement needs a clean process. So the parent holds a `Worker`, the framework lives in its child,
and between them go messages (see `diptych.transport`).

The child ends when its parent does: it watches the pipe that it takes requests from.
"""

import importlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from diptych.errors import InputError
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
        self._process = subprocess.Popen(
            # -P: a file of the person's named tensorflow.py must not stand in for the framework.
            [sys.executable, "-P", "-m", "diptych.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | ENVIRONMENT | {"TMPDIR": self._scratch.name} | (environment or {}),
            start_new_session=True,  # Ctrl-C is for the parent, which then asks the child to stop.
        )
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        # A thread reads, since Ctrl-C in the middle of a message would lose its first half.
        self._inbox: queue.SimpleQueue[tuple[dict[str, Any], Arrays] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while (message := receive(self._answers)) is not None:
                self._inbox.put(message)
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
        """Ends the child, whatever it does at the moment."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with suppress(BrokenPipeError):
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
    ) -> tuple[dict[str, Any], Arrays]:
        """Has the child do one job and waits for the answer.

        Args:
            job: ``module:function`` below ``diptych``, such as ``training:train_job``.
            parameters: plain data for the job.
            arrays: arrays for the job.
            report: called with what the job reports while it runs.
            limit: seconds in which it must have reported or answered; for ever if not given.

        Raises:
            InputError: as the job raised it.
            KeyboardInterrupt: Ctrl-C was pressed; the job was asked to stop, and has.
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

        with _on_interrupt(interrupt):
            with suppress(BrokenPipeError):  # The reader then finds that the child has gone.
                send(self._requests, {"job": job, "parameters": parameters}, arrays)
            while True:
                try:
                    message = self._inbox.get(timeout=limit)
                except queue.Empty:
                    raise TimeoutError(f"no answer within {limit:g} s") from None
                if message is None:
                    self._inbox.put(None)  # For the next call, which would wait forever.
                    raise WorkerError(self._ending())
                header, answer = message
                match header["type"]:
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
        if interrupted:  # Judged where Ctrl-C is Python's own again, so that none is lost.
            raise KeyboardInterrupt
        return header["value"], answer

    def _ending(self) -> str:
        """How the child ended, and the last lines that it wrote."""
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-15:]
        how = f"exit code {code}"
        if code < 0:
            how = signal.Signals(-code).name
            if how == "SIGKILL":
                how += " (out of memory?)"
        return "\n".join([f"the worker process ended by {how}", *last])


@contextmanager
def _on_interrupt(do: Callable[..., None]) -> Iterator[None]:
    """Has ``do`` called where KeyboardInterrupt would be raised, which can be in any line.

    Signals go to the main thread; in any other thread there is nothing to do.
    """
    ours = []
    if threading.current_thread() is threading.main_thread():
        signals = (signal.SIGINT, signal.SIGTERM)
        ours = [each for each in signals if signal.getsignal(each) is signal.default_int_handler]
    try:
        for each in ours:
            signal.signal(each, do)
        yield
    finally:
        for each in ours:
            signal.signal(each, signal.default_int_handler)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child's life: does one job after the other until the parent goes."""
    inbox: queue.Queue[tuple[dict[str, Any], Arrays]] = queue.Queue()
    stop = threading.Event()

    def say(message: dict[str, Any], arrays: Arrays | None = None) -> None:
        try:
            send(answers, message, arrays)
        except BrokenPipeError:
            os._exit(1)

    def listen() -> None:
        try:
            while (message := receive(requests)) is not None:
                if message[0].get("stop"):
                    stop.set()
                else:
                    inbox.put(message)
        finally:
            os._exit(1)  # The parent has gone, and nobody waits for the job under way.

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


def main() -> None:
    """Keeps standard output for the answers; what frameworks print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
