"""What tests of runs and of the command line share."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from diptych.data import Data
from diptych.data.idx import write_idx
from diptych.data.idx_folder import IDX_NAMES
from diptych.runs import LOCK, Run
from diptych.workflows import registry

WORKFLOWS = tuple(n for n in ("tensorflow", "keras", "torch", "jax") if n in registry.installed())
"""Those but the reference that fit into one process."""

NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="child processes are found in /proc"
)

COMMAND = (sys.executable, "-m", "diptych.cli")
TIMES = {"train_seconds", "validation_seconds"}


def diptych(
    *arguments: str | Path, stdin: bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs the real command line in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        env=plain_environment() | environment,
        timeout=300,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def plain_environment() -> dict[str, str]:
    """The environment without what makes programs colour even what goes into a pipe."""
    return {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "CLICOLOR_FORCE")}


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Starts the real command line; its standard output and error are pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=plain_environment(),
        text=True,
    )


def write_digits(mnist: Data, folder: Path, train: int, test: int) -> Path:
    """Writes the first digits of MNIST as a folder of IDX files; a twelfth of them validates."""
    folder.mkdir(parents=True)
    arrays = (
        mnist.train.images[:train, ..., 0],
        mnist.train.labels[:train].astype(np.uint8),
        mnist.test.images[:test, ..., 0],
        mnist.test.labels[:test].astype(np.uint8),
    )
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        write_idx(folder / name, array)
    return folder


def measured(run: Run) -> list[dict[str, Any]]:
    """A run's metrics but for the seconds, which no two trainings share."""
    return [{k: v for k, v in epoch.items() if k not in TIMES} for epoch in run.metrics()]


def assert_same_training(run: Run, reference: Run) -> None:
    """Both ended with the same bits: weights, logits and every number measured."""
    assert run.status == reference.status == "done"
    for name in ("weights.safetensors", "predictions.safetensors"):
        ours, theirs = load_file(run.folder / name), load_file(reference.folder / name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key].dtype == value.dtype
            assert np.array_equal(ours[key], value), f"{name}: {key}"
    assert measured(run) == measured(reference)
    assert (run.result() or {})["test_correct"] == (reference.result() or {})["test_correct"]


def whole_files(folder: Path) -> list[str]:
    """The names of the files that readers see, each of which is parsed; raises where one is not
    whole."""
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == LOCK or path.name.endswith(".partial"):
            continue
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".jsonl":
                for line in path.read_text().splitlines(keepends=True):
                    assert line.endswith("\n")
                    json.loads(line)
            case ".safetensors":
                load_file(path)
            case _:
                raise AssertionError(f"{path} does not belong in a run's folder")
        names.append(str(path.relative_to(folder)))
    return names


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def is_alive(pid: int) -> bool:
    """Whether any of its threads runs; a process that only waits to be waited for does not."""
    try:
        stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return is_alive(pid)  # A thread ended while we looked.
    return any(stat.rpartition(")")[2].split()[0] not in "ZX" for stat in stats)


def kill_workers() -> None:
    """Kills the workers that this process has started; its tests have other children, too."""
    for pid in children(os.getpid()):
        with suppress(psutil.NoSuchProcess):
            if "diptych.supervisor" in psutil.Process(pid).cmdline():
                kill(pid)


def kill(pid: int) -> None:
    """Kills a process that may have ended by itself in the meantime."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def violations(page: Any) -> list[str]:
    """The faults that axe finds in a page in a browser as it is now, a line for each element."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    found = axe.Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]
