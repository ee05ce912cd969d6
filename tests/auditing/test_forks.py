"""Audits of sides whose code forks: they end, and leave neither a process nor a file behind."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_bad_sides import MARK, SOUND, left

from diptych.auditing.side import Side
from diptych.auditing.spec import parse
from diptych.errors import InputError
from support import NEEDS_PROC

pytestmark = NEEDS_PROC

FORKS = Path(__file__).parent / "bad" / "forks.py"


@pytest.mark.parametrize(
    "name", ["forks_a_sleeper", "forks_a_daemon", "keeps_a_pool", "starts_a_program"]
)
def test_a_side_that_forks_is_opened_and_leaves_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(MARK, name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Side("A", parse(f"{FORKS}:{name}")) as side:
        side.open()
        start = time.monotonic()
    assert time.monotonic() - start < 20
    assert list(tmp_path.iterdir()) == []
    assert left(name) == []


@pytest.mark.parametrize("name", ["loads_in_two_processes", "loads_and_keeps_its_processes"])
def test_batches_may_be_loaded_by_other_processes(name: str) -> None:
    with Side("A", parse(f"{FORKS}:{name}")) as side:
        side.open()
        epochs = side.batches(70, 2)
    assert epochs and [len(y) for _, y in epochs[1]] == [32, 32, 6]


def test_bytes_on_the_wrong_descriptor_end_in_one_line() -> None:
    side = Side("A", parse(f"{FORKS}:writes_to_every_descriptor"))
    with side, pytest.raises(InputError) as caught:
        side.open()
    assert "a file descriptor that it has not opened" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "later"), [(SOUND, 1.0), ("forks.py:hangs", 0.0), ("forks.py:hangs", 0.4)]
)
def test_ctrl_c_ends_an_audit_at_once_and_says_so(other: str, later: float) -> None:
    """While one side hangs, and while both of them start."""
    mark = f"interrupted-{os.getpid()}"
    other = other.replace("forks.py", str(FORKS))
    process = subprocess.Popen(
        [sys.executable, "-m", "diptych.cli", "audit", f"{FORKS}:hangs", other],
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(name for name in left_at_once(mark) if int(name) != process.pid):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(later)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - pressed < 10  # 2 are wanted; a busy machine is no fault.
    assert process.returncode == 130
    assert "stopped" in errors and "Traceback" not in errors
    assert left(mark) == []


def test_ctrl_c_while_both_sides_are_asked_at_once(tmp_path: Path) -> None:
    """Their answers, which would come in a minute or never, are not waited for."""
    mark = f"at-once-{os.getpid()}"
    code = (
        "import sys\n"
        "from diptych.auditing.side import Side, at_once\n"
        "from diptych.auditing.spec import parse\n"
        "sides = {name: Side(name, parse(sys.argv[1]), 60) for name in 'ab'}\n"
        "print('asked', flush=True)\n"
        "try:\n"
        "    at_once(sides, lambda name: sides[name].open())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{FORKS}:hangs"],
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "asked\n"
    time.sleep(0.5)
    pressed = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=90)
    assert time.monotonic() - pressed < 10  # 2 are wanted; a busy machine is no fault.
    assert process.returncode == 130, errors
    assert left(mark) == []


def left_at_once(mark: str) -> list[str]:
    """The processes that have the mark in their environment now."""
    there = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                there.append(process.name)
        except OSError:
            continue
    return there
