"""Trainings that were killed or stopped, and resumed: they end as if nothing had happened.

The real command line is killed at random instants of its life, which are seeded, so that a failure
names the instant that caused it.
"""

import errno
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diptych import machine, training
from diptych.errors import InputError
from diptych.events import Done, EpochEnded, Event, Started, Stepped
from diptych.runs import Run, find
from support import (
    COMMAND,
    NEEDS_PROC,
    assert_same_training,
    children,
    diptych,
    is_alive,
    kill,
    kill_workers,
    plain_environment,
    start,
    whole_files,
)

KILLS = 20
FEW = (0, 9, 18)
"""The kills of `make test`: early and late, of the whole tree and (0, 9, 18) of the worker."""
MakeCommand = Callable[[str, Path], list[str]]
MakeRun = Callable[..., Run]

pytestmark = NEEDS_PROC


@pytest.fixture(scope="module")
def command(small_toml: Path, few_digits: Path) -> MakeCommand:
    """Everything that has a state: dropout, shifts, a schedule, early stopping, small batches."""

    def make(workflow: str, runs: Path) -> list[str]:
        numpy = workflow == "numpy"
        return (
            f"train {workflow} --network {small_toml} --data {few_digits} --runs {runs} --seed 3 "
            f"--epochs {8 if numpy else 4} --batch-size {11 if numpy else 7} --early-stopping 3 "
            f"--set shift=2 --set learning_rate=0.02 --checkpoint-every {7 if numpy else 20}"
        ).split()

    return make


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


def the_run(runs: Path) -> Run | None:
    found = find(runs)
    assert len(found) <= 1
    return found[0] if found else None


class Reference:
    """A training that nobody disturbed, and how long it took from its folder's birth."""

    def __init__(self, command: list[str], runs: Path) -> None:
        began, process = time.monotonic(), start(*command)
        while not (run := the_run(runs)):
            time.sleep(0.005)
            assert process.poll() is None or the_run(runs)
        self.birth = time.monotonic() - began
        code, _, self.err = ended(process)
        assert code == 0, self.err
        self.run, self.seconds = run, time.monotonic() - began - self.birth


def kill_at(command: list[str], runs: Path, after: float, whole_tree: bool) -> str:
    """Starts a training, kills it so long after its folder's birth, and looks at what is left.

    Returns:
        What the killed run's status had become.
    """
    process = start(*command)
    while not runs.exists() or not the_run(runs):
        time.sleep(0.005)
        assert process.poll() is None
    time.sleep(after)
    workers = children(process.pid)
    if whole_tree:
        process.kill()
    for pid in workers:
        kill(pid)
    code, _, err = ended(process)
    assert gone(workers), "a worker stayed behind"
    run = the_run(runs)
    assert run
    whole_files(run.folder)
    status = run.status_now
    assert status in ("new", "killed", "done")
    if not whole_tree and status != "done":
        assert code == 1
        assert err.startswith(f"diptych: run {run.folder}: the worker process ended by SIGKILL")
    return status


@pytest.fixture(scope="module")
def numpy_reference(command: MakeCommand, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    runs = tmp_path_factory.mktemp("reference") / "runs"
    return Reference(command("numpy", runs), runs)


@pytest.mark.parametrize(
    "number",
    [
        number if number in FEW else pytest.param(number, marks=pytest.mark.exhaustive)
        for number in range(KILLS)
    ],
)
def test_killed_at_a_random_instant(
    number: int, command: MakeCommand, numpy_reference: Reference, tmp_path: Path
) -> None:
    """Instant ``number`` lies in its own twentieth of the run's life."""
    share = (number + np.random.default_rng(number).random()) / KILLS
    runs = tmp_path / "runs"
    kill_at(
        command("numpy", runs), runs, share * numpy_reference.seconds, whole_tree=number % 3 != 0
    )
    run = the_run(runs)
    assert run
    training.resume(run, lambda _: None)
    assert_same_training(run, numpy_reference.run)
    assert whole_files(run.folder) == whole_files(numpy_reference.run.folder)
    assert not list(run.folder.rglob(".*.partial")), "what was half-written is still there"


def test_killed_again_and_again(
    command: MakeCommand, numpy_reference: Reference, tmp_path: Path
) -> None:
    """The parent alone is killed, so its worker has to notice."""
    chance = np.random.default_rng(20)
    process = start(*command("numpy", tmp_path / "runs"))
    while not ((tmp_path / "runs").exists() and (run := the_run(tmp_path / "runs"))):
        time.sleep(0.005)
        assert process.poll() is None
    for _ in range(4):
        time.sleep(numpy_reference.birth + chance.uniform(0.2, 0.5) * numpy_reference.seconds)
        workers = children(process.pid)
        process.kill()
        process.communicate()
        assert gone(workers), "an orphan trains on"
        process = start("resume", run.folder)
    code, _, err = ended(process)
    assert code == 0 or "there is nothing to resume" in err
    assert_same_training(run, numpy_reference.run)


@pytest.mark.parametrize(
    ("workflow", "kills"),
    [
        ("tensorflow", 1),
        ("keras", 1),
        pytest.param("keras", 2, marks=pytest.mark.exhaustive),
        pytest.param("torch", 1, marks=pytest.mark.exhaustive),
        pytest.param("jax", 1, marks=pytest.mark.exhaustive),
    ],
)
def test_frameworks_killed_at_random_instants(
    workflow: str,
    kills: int,
    command: MakeCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed in each equal part of the training, after the last resume; with all their threads."""
    for variable in machine.THREADS:
        monkeypatch.delenv(variable, raising=False)
    reference = Reference(command(workflow, tmp_path / "reference"), tmp_path / "reference")
    epochs = len(reference.run.metrics())
    chance = np.random.default_rng(len(workflow))
    run = training.create(
        workflow,
        reference.run.network,
        reference.run.recipe,
        reference.run.description()["data"]["source"],
        reference.run.seed,
        runs=tmp_path / "runs",
        checkpoint_every=reference.run.checkpoint_every,
    )
    steps = -(-330 // 7)
    for number in range(kills):
        at = int((number + chance.random()) / kills * steps * epochs)
        at = max(at, reference.run.checkpoint_every or 0)  # Something is to have been saved.
        with pytest.raises(Exception, match="SIGKILL"):
            training.carry_out(run, lambda event, at=at: kill_after_step(event, at, steps))
        assert run.status_now == "killed"
        whole_files(run.folder)
    resumed: list[Event] = []
    training.resume(run, resumed.append)
    first = next(event for event in resumed if isinstance(event, Started))
    assert (first.epoch, first.step) != (1, 0), "nothing had been saved"
    assert_same_training(run, reference.run)


def kill_after_step(event: Event, at: int, steps: int) -> None:
    """Kills the worker once its training has come so far."""
    match event:
        case Stepped():
            done = (event.epoch - 1) * steps + event.step
        case EpochEnded():
            done = event.measured.epoch * steps
        case _:
            done = 0
    if done > at or isinstance(event, Done):
        kill_workers()


# Asked to stop.


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_training_that_is_asked_to_stop(
    name: str, command: MakeCommand, numpy_reference: Reference, tmp_path: Path
) -> None:
    process = start(*command("numpy", tmp_path / "runs"))
    assert process.stdout
    while not process.stdout.readline().startswith("Epoch 2"):
        assert process.poll() is None
    workers = children(process.pid)
    process.send_signal(signal.Signals[name])
    code, _, err = ended(process)
    run = the_run(tmp_path / "runs")
    assert run
    assert code == 130
    assert err.strip() == f"Stopped and saved. `diptych resume {run.folder}` continues."
    assert run.status_now == "stopped"
    assert gone(workers)
    done = diptych("resume", run.folder)
    assert done.returncode == 0, done.stderr
    assert "Resumed in epoch" in done.stdout
    assert_same_training(run, numpy_reference.run)


def test_a_comparison_that_is_asked_to_stop(
    command: MakeCommand, numpy_reference: Reference, tmp_path: Path
) -> None:
    runs = tmp_path / "my runs"
    arguments = command("numpy", tmp_path / "unused")[2:]
    arguments[arguments.index("--runs") + 1] = str(runs)
    process = start("compare", "--workflows", "numpy,tensorflow", *arguments)
    assert process.stdout
    while not process.stdout.readline().startswith("Epoch 2"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    made = {run.workflow: run for run in find(runs)}
    assert {name: run.status for name, run in made.items()} == {
        "numpy": "stopped",
        "tensorflow": "new",
    }
    assert code == 130
    folders = [str(made[name].folder) for name in ("numpy", "tensorflow")]
    assert err.strip() == f"Stopped and saved. `diptych compare {shlex.join(folders)}` continues."
    done = diptych("compare", *folders, "--runs", runs)
    assert done.returncode == 0, done.stderr
    assert "(1 of 2) numpy" in done.stdout
    assert "Resumed in epoch" in done.stdout
    assert [run.status for run in made.values()] == ["done", "done"]
    assert_same_training(made["numpy"], numpy_reference.run)


def test_closing_the_terminal_saves_the_run(
    command: MakeCommand, numpy_reference: Reference, tmp_path: Path
) -> None:
    """With a terminal of its own, so that printing fails as well from then on."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, *command("numpy", tmp_path / "runs")],
        preexec_fn=lambda: os.login_tty(theirs),
        env=plain_environment(),
    )
    os.close(theirs)
    shown = b""
    while b"Epoch 2 |" not in shown:
        shown += os.read(ours, 4096)
    workers = children(process.pid)
    os.close(ours)
    assert process.wait(60) == 130
    assert gone(workers), "an orphan trains on"
    run = the_run(tmp_path / "runs")
    assert run
    assert run.status_now == "stopped"
    training.resume(run, lambda _: None)
    assert_same_training(run, numpy_reference.run)


def test_a_terminal_that_cannot_be_printed_to_any_more_saves_the_run(new_run: MakeRun) -> None:
    """It may be gone a moment before the signal that says so."""
    run = new_run()

    def gone(event: Event) -> None:
        if isinstance(event, EpochEnded):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        training.carry_out(run, gone)
    assert run.status_now == "stopped"
    assert len(run.metrics()) == 1


def test_a_hangup_that_is_ignored_stays_ignored(command: MakeCommand, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["nohup", *COMMAND, *command("numpy", tmp_path / "runs")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=plain_environment(),
    )
    assert process.stdout
    while not process.stdout.readline().startswith("Epoch 1"):
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0


def test_a_run_whose_process_is_gone_is_not_listed_as_running(new_run: MakeRun) -> None:
    run = new_run()
    run.set_status("running")  # As a process leaves it that is killed.
    done = diptych("runs", "--runs", run.folder.parent, "--json", "-")
    assert [run["status"] for run in json.loads(done.stdout)["runs"]] == ["killed"]
    assert "running" not in diptych("runs", "--runs", run.folder.parent).stdout
    with pytest.raises(InputError, match="its status is killed"):
        run.weights()
