"""One audit in processes of its own: its answer, how long it takes, and how much memory.

Results are lines of JSON, so that a benchmark can be run in pieces.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from diptych.processes import descendants

WATCHED_EVERY = 2.0
"""Seconds."""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
PATIENCE = "300"
"""Seconds that a side has for an answer: a busy machine is no reason to give up."""


def run(pair: tuple[str, str], sides: Path, seconds: float) -> dict[str, Any]:
    """Audits a pair of sides.

    Args:
        pair: both as ``file.py:function``.
        sides: the folder of their files.
        seconds: when to give up.

    Returns:
        ``exit`` (None where time ran out), ``seconds``, ``memory`` (the peak of all processes
        together, MiB), ``error`` (the last line where there is no answer), and of the answer
        ``conclusion``, ``structure``, ``findings`` (code and stage of each), ``faults`` (stages
        that failed inside) and ``not_compared``.
    """
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        answer = Path(folder, "answer.json")
        command = [sys.executable, "-m", "diptych.cli", "audit", *pair, "--json", str(answer)]
        command += ["--timeout", PATIENCE]
        began = time.monotonic()
        with Path(folder, "output").open("w+b") as output:
            process = subprocess.Popen(
                command, cwd=sides, stdout=output, stderr=output, env=QUIET | os.environ
            )
            memory = Memory(process.pid)
            status: int | None = None
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(seconds)
            if status is None:
                process.terminate()
                process.wait()
            peak = memory.stop()
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
        result: dict[str, Any] = {
            "exit": status,
            "seconds": round(time.monotonic() - began, 1),
            "memory": round(peak),
        }
        if status not in (0, 1) or not answer.exists():
            return result | {"error": lines[-1] if lines else ""}
        return result | _of_answer(json.loads(answer.read_text()))


def _of_answer(audit: dict[str, Any]) -> dict[str, Any]:
    """The part of an audit's JSON that the table needs."""
    structure = next(stage for stage in audit["stages"] if stage["name"] == "structure")
    return {
        "conclusion": audit["conclusion"],
        "structure": structure["note"],
        "findings": [[finding["code"], finding["stage"]] for finding in audit["findings"]],
        "faults": [stage["name"] for stage in audit["stages"] if stage["fault"]],
        "not_compared": [
            f"{stage['name']}: {left}"
            for stage in audit["stages"]
            for left in stage["coverage"]["left_out"]
        ],
    }


class Memory:
    """Follows the memory of a process and of all that it starts, in a thread."""

    def __init__(self, process: int):
        self._process, self._peak, self._ended = process, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """The peak, MiB."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(WATCHED_EVERY):
            processes = {self._process} | descendants(self._process)
            self._peak = max(self._peak, sum(map(_proportional_mib, processes)))


def _proportional_mib(process: int) -> float:
    """The memory of a process, MiB; a page that n processes share counts as 1/n of it."""
    with suppress(OSError):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        return int(rollup.split("\nPss:")[1].split()[0]) / 2**10
    return 0.0  # It has ended.


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a result to a file of JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(path: Path, *keys: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """The results in a file by the values of some keys, the last one of each; none where there is
    no file."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {tuple(line[key] for key in keys): line for line in lines}
