import ast
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import diptych.worker
from diptych.errors import InputError
from diptych.worker import Worker, WorkerError
from support import NEEDS_PROC, is_alive

JOBS = """
import os, signal, sys, time
from diptych.errors import InputError

def echo(parameters, arrays, report, stopping):
    report({"heard": parameters})
    return parameters, arrays

def about(parameters, arrays, report, stopping):
    return {"pid": os.getpid(), "cwd_first": sys.path[0] in ("", os.getcwd()),
            "modules": [name for name in parameters["modules"] if name in sys.modules]}, {}

def boom(parameters, arrays, report, stopping):
    raise KeyError("the engine room\\nis on fire")

def hoard(parameters, arrays, report, stopping):
    import numpy
    numpy.empty(2**60, "u1")

def wrong(parameters, arrays, report, stopping):
    raise InputError("colour: given mauve,\\n  expected red")

def die(parameters, arrays, report, stopping):
    print("last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), parameters["signal"])

def leave(parameters, arrays, report, stopping):
    os._exit(7)

def chatter(parameters, arrays, report, stopping):
    print("frameworks print" * 5000)
    os.write(1, b"even below Python" * 5000)
    return {"said": True}, {}

def scribble(parameters, arrays, report, stopping):
    import tempfile
    return {"file": tempfile.mkstemp()[1]}, {}

def until_stopped(parameters, arrays, report, stopping):
    report({"pid": os.getpid()})
    while not stopping():
        time.sleep(0.01)
    return {"stopped": True}, {}

def forever(parameters, arrays, report, stopping):
    report({"pid": os.getpid()})
    time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the jobs above where a child finds its jobs: below the package."""
    (tmp_path / "sitecustomize.py").write_text(
        "import diptych, os; diptych.__path__.append(os.path.dirname(__file__))"
    )
    (tmp_path / "test_jobs.py").write_text(JOBS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker() as made:
        yield made


def test_a_child_answers_one_job_after_the_other(worker: Worker) -> None:
    sent = {"small": np.arange(3), "large": np.zeros((3000, 1000), np.float32), "none": np.zeros(0)}
    for parameters in ({"a": 1}, {"b": "ü×"}):
        heard: list[dict] = []
        answer, found = worker.call("test_jobs:echo", parameters, sent, heard.append)
        assert answer == parameters
        assert heard == [{"heard": parameters}]
        for name, array in sent.items():
            assert np.array_equal(found[name], array)
    first, second = (worker.call("test_jobs:about", {"modules": []})[0]["pid"] for _ in range(2))
    assert first == second != os.getpid()


def test_a_child_imports_no_framework_by_itself(worker: Worker) -> None:
    frameworks = ["tensorflow", "keras", "torch", "jax", "pickle5", "multiprocessing"]
    answer, _ = worker.call("test_jobs:about", {"modules": frameworks})
    assert answer["modules"] == []


def test_an_exception_comes_back_with_its_traceback(worker: Worker) -> None:
    with pytest.raises(WorkerError) as raised:
        worker.call("test_jobs:boom", {})
    first, *rest = str(raised.value).splitlines()
    assert first == r"the worker process failed: KeyError: 'the engine room\nis on fire'"
    assert rest[0] == "Traceback (most recent call last):"
    assert any("in boom" in line for line in rest)
    assert worker.call("test_jobs:echo", {})[0] == {}, "the child lives on"


@pytest.mark.parametrize("job", ["test_jobs:missing", "no_such_module:job"])
def test_a_job_that_is_not_there(worker: Worker, job: str) -> None:
    with pytest.raises(WorkerError, match="the worker process failed"):
        worker.call(job, {})


def test_a_wrong_input_comes_back_as_such(worker: Worker) -> None:
    with pytest.raises(InputError, match=r"^colour: given mauve, expected red$"):
        worker.call("test_jobs:wrong", {})


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_child_that_was_killed_is_named(name: str) -> None:
    with Worker() as worker, pytest.raises(WorkerError, match=name) as raised:
        worker.call("test_jobs:die", {"signal": int(signal.Signals[name])})
    assert str(raised.value).endswith("\nlast words")
    assert ("out of memory" in str(raised.value)) == (name == "SIGKILL")


def test_a_child_that_left(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="exit code 7"):
        worker.call("test_jobs:leave", {})
    with pytest.raises(WorkerError, match="exit code 7"):
        worker.call("test_jobs:echo", {})


def test_what_a_child_prints_does_not_disturb_its_answers(worker: Worker) -> None:
    assert worker.call("test_jobs:chatter", {})[0] == {"said": True}


@NEEDS_PROC
def test_a_closed_worker_has_no_process() -> None:
    worker = Worker()
    worker.close()
    assert not is_alive(worker.pid)


def test_what_a_child_writes_for_the_time_being_goes_with_it() -> None:
    """TensorFlow writes a file a traced function, and a child that is killed tidies nothing."""
    with Worker() as worker:
        file = Path(worker.call("test_jobs:scribble", {})[0]["file"])
        assert file.exists()
    assert not file.parent.exists()


def test_ctrl_c_asks_the_job_to_stop_and_waits_for_it(worker: Worker) -> None:
    """It comes while the parent is busy with a report: the worst moment."""
    answered = []

    def report(value: dict) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        answered.append(value)

    with pytest.raises(KeyboardInterrupt):
        worker.call("test_jobs:until_stopped", {}, report=report)
    assert len(answered) == 1, "the report was cut off"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert worker.call("test_jobs:echo", {"still": "there"})[0] == {"still": "there"}


def test_a_second_ctrl_c_does_not_wait(worker: Worker) -> None:
    def report(_: dict) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        worker.call("test_jobs:forever", {}, report=report)


def test_a_worker_can_be_used_from_another_thread(worker: Worker) -> None:
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(worker.call("test_jobs:echo", {"a": 1})[0])
    )
    thread.start()
    thread.join()
    assert answers == [{"a": 1}]


@NEEDS_PROC
def test_a_child_ends_with_its_parent() -> None:
    code = (
        "from diptych.worker import Worker\n"
        "with Worker() as worker:\n"
        "    worker.call('test_jobs:forever', {}, report=lambda v: print(v['pid'], flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    until = time.monotonic() + 30
    while is_alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(child), "an orphan stayed behind"


def test_a_persons_files_do_not_stand_in_for_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for name in ("tensorflow", "keras", "numpy", "random"):
        (scripts / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(scripts)
    with Worker() as worker:
        about, _ = worker.call("test_jobs:about", {"modules": ["numpy"]})
        assert not about["cwd_first"]
        assert about["modules"] == ["numpy"]


def test_nothing_is_pickled() -> None:
    folder = Path(diptych.worker.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [
                alias.name
                for alias in (node.names if isinstance(node, ast.Import | ast.ImportFrom) else [])
            ]
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            taken = {name.split(".")[0] for name in names}
            assert not taken & {"pickle", "multiprocessing", "dill", "cloudpickle"}, path


@pytest.mark.parametrize("mebibytes", [150, 200, 230, 500])
def test_too_little_memory_for_numpy_is_one_line_and_no_hang(mebibytes: int) -> None:
    """At some of these its own libraries wait for a thread that they could not start."""
    limit = mebibytes * 2**20
    done = subprocess.run(
        [sys.executable, "-c", "from diptych.worker import Worker; Worker()"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode
    if "InputError" in done.stderr:  # NumPy itself ends the process at the lowest.
        assert f"memory is limited to {mebibytes} MiB of addresses" in done.stderr


def test_no_memory_in_a_job_is_one_line(worker: Worker) -> None:
    with pytest.raises(InputError, match=r"^too little memory: Unable to allocate .*$"):
        worker.call("test_jobs:hoard", {})


def test_a_worker_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(diptych.worker, "START_SECONDS", 0.5)
    with Worker() as worker, pytest.raises(WorkerError, match=r"did not start within 0\.5 s"):
        worker.call("evaluation:logits_job", {})
