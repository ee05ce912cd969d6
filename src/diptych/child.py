"""The child process of a `diptych.worker.Worker`: it does one job after the other.

It ends when its parent does, and whatever it has started ends with it.
"""

import importlib
import os
import queue
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any

from diptych import processes
from diptych.errors import InputError, explained
from diptych.pipes import Pipe
from diptych.transport import Arrays, receive, send
from diptych.worker import Job


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
            say({"type": "started"})
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
            if known := explained(problem):
                say({"type": "input error", "message": str(known)})
                stop.clear()
                continue
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
