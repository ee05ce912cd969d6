"""Workers whose code forks, or writes to what is not its own: nothing hangs, nothing is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych import processes
from diptych.worker import Worker, WorkerError
from support import NEEDS_PROC, is_alive

pytestmark = NEEDS_PROC

JOBS = '''
import multiprocessing, os, subprocess, sys, threading, time

def sleeper(parameters, arrays, report, stopping):
    """Forks once; the fork sleeps."""
    pid = os.fork()
    if not pid:
        time.sleep(1000)
    return {"pids": [pid]}, {}

def both_go_on(parameters, arrays, report, stopping):
    """Forks, and both come back from the job."""
    os.fork()
    return {"pids": []}, {}

def daemon(parameters, arrays, report, stopping):
    """Forks twice with a session of its own, as daemons do, and forgets its environment."""
    r, w = os.pipe()
    if not os.fork():
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(w, str(pid).encode())
            os._exit(0)
        if parameters.get("bare"):
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(1000)"], {})
        time.sleep(1000)
    pid = int(os.read(r, 20))
    os.wait()
    return {"pids": [pid]}, {}

def squared(x):
    return x * x

def pool(parameters, arrays, report, stopping):
    """A pool of two processes that nobody closes."""
    global kept
    kept = multiprocessing.get_context("fork").Pool(2)
    assert kept.map(squared, range(5)) == [0, 1, 4, 9, 16]
    return {"pids": [each.pid for each in kept._pool]}, {}

def shared(parameters, arrays, report, stopping):
    """A piece of shared memory that nobody unlinks."""
    from multiprocessing import resource_tracker, shared_memory
    global kept
    kept = shared_memory.SharedMemory(create=True, size=2**20)
    command = f"/proc/{resource_tracker._resource_tracker._pid}/cmdline"
    while b"resource_tracker" not in open(command, "rb").read():  # Until then it is a copy of us.
        time.sleep(0.01)
    return {"pids": [], "file": "/dev/shm/" + kept.name.lstrip("/")}, {}

def burning(parameters, arrays, report, stopping):
    """A program in a session of its own that takes a core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    return {"pids": [process.pid]}, {}

def dies_with_children(parameters, arrays, report, stopping):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"],
                               start_new_session=True)
    report({"pids": [process.pid]})
    os._exit(3)

def dies_without_a_word(parameters, arrays, report, stopping):
    """Is killed after it has started a program with neither its session nor its environment."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"],
                               start_new_session=True, env={})
    report({"pids": [process.pid]})
    os.kill(os.getpid(), parameters["signal"])

def shouts(parameters, arrays, report, stopping):
    """Writes to every descriptor that there is."""
    for number in range(3, 400):
        try:
            os.write(number, parameters["text"].encode())
        except OSError:
            pass
    return {}, {}

def closes_everything(parameters, arrays, report, stopping):
    os.closerange(3, 1024)
    time.sleep(1000)

def asks(parameters, arrays, report, stopping):
    return {"line": sys.stdin.readline()}, {}

def deaf(parameters, arrays, report, stopping):
    report({"pid": os.getpid()})
    time.sleep(1000)
'''


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the jobs above where a child finds its jobs: below the package."""
    (tmp_path / "sitecustomize.py").write_text(
        "import diptych, os; diptych.__path__.append(os.path.dirname(__file__))"
    )
    (tmp_path / "process_jobs.py").write_text(JOBS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker() as made:
        yield made


def gone(numbers: list[int]) -> bool:
    """Whether the processes have ended, a moment later."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if not any(is_alive(each) for each in numbers):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("job", ["sleeper", "both_go_on", "daemon", "pool", "burning"])
def test_nothing_that_a_job_has_started_is_left(worker: Worker, job: str) -> None:
    answer, _ = worker.call(f"process_jobs:{job}", {}, limit=30)
    assert all(is_alive(each) for each in answer["pids"])
    below = processes.descendants(worker.pid) | {worker.pid}
    start = time.monotonic()
    worker.close()
    assert time.monotonic() - start < 20  # Of the 1,000 that it would sleep.
    assert gone([*answer["pids"], *below]), job


def test_a_daemon_without_its_environment_is_found_by_its_parents(worker: Worker) -> None:
    answer, _ = worker.call("process_jobs:daemon", {"bare": True}, limit=30)
    worker.close()
    assert gone(answer["pids"])


def test_what_a_job_leaves_in_shared_memory_goes_too(worker: Worker) -> None:
    answer, _ = worker.call("process_jobs:shared", {}, limit=30)
    assert Path(answer["file"]).exists()
    worker.close()
    assert not Path(answer["file"]).exists()


def test_a_worker_that_ends_by_itself_takes_its_children_along(worker: Worker) -> None:
    told: list[dict] = []
    with pytest.raises(WorkerError, match="exit code 3"):
        worker.call("process_jobs:dies_with_children", {}, report=told.append, limit=30)
    worker.close()
    assert gone(told[0]["pids"])


@pytest.mark.skipif(sys.platform != "linux", reason="Linux adopts orphans")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT"])
def test_a_worker_that_is_killed_takes_even_a_stranger_along(worker: Worker, name: str) -> None:
    told: list[dict] = []
    number = int(signal.Signals[name])
    with pytest.raises(WorkerError, match=f"ended by {name}"):
        job = "process_jobs:dies_without_a_word"
        worker.call(job, {"signal": number}, report=told.append, limit=30)
    assert gone(told[0]["pids"])


@pytest.mark.parametrize("text", ["hello\n", "\0" * 16, "x" * 100_000])
def test_stray_bytes_end_in_one_line(worker: Worker, text: str) -> None:
    with pytest.raises(WorkerError) as raised:
        worker.call("process_jobs:shouts", {"text": text}, limit=5)
    assert "a file descriptor that it has not opened" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_job_that_closes_the_pipes(worker: Worker) -> None:
    start = time.monotonic()
    with pytest.raises(WorkerError, match="worker process"):
        worker.call("process_jobs:closes_everything", {}, limit=30)
    assert time.monotonic() - start < 60


def test_standard_input_is_empty(worker: Worker) -> None:
    assert worker.call("process_jobs:asks", {}, limit=30)[0] == {"line": ""}


def test_a_parent_that_is_killed_takes_all_along() -> None:
    code = (
        "from diptych.worker import Worker\n"
        "with Worker() as worker:\n"
        "    print(worker.pid, worker.call('process_jobs:daemon', {})[0]['pids'][0], flush=True)\n"
        "    worker.call('process_jobs:deaf', {})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        numbers = [int(each) for each in parent.stdout.readline().split()]
        assert all(is_alive(each) for each in numbers)
        parent.kill()
    assert gone(numbers)


def test_ctrl_c_does_not_wait_for_a_job_that_does_not_stop(worker: Worker) -> None:
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        worker.call(
            "process_jobs:deaf",
            {},
            report=lambda _: threading.Timer(0.2, press).start(),
            stops=False,
        )
    worker.close()
    assert time.monotonic() - pressed[0] < 10  # 2 are wanted; a busy machine is no fault.
