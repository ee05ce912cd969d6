"""Trainings in several processes: they compute what one process computes on the whole batch."""

import multiprocessing
import os
import queue
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from diptych import parallel, training
from diptych.cli import run
from diptych.data import Data, load_data
from diptych.data.batches import Batches
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.snapshots import snapshot_steps
from diptych.worker import WorkerError
from diptych.workflows import registry
from diptych.workflows.group import Group
from support import NEEDS_PROC, children, start

STEPS, EPOCHS = 20, 30
SAME = 12
"""Epochs in which rounding stays small. It grows: by the 25th a loss differs by two hundredths."""
LIMIT = 1200.0
"""Seconds that a training may take: a busy machine takes minutes to start TensorFlow in three."""
SMALL_TOML = """
input_shape = [28, 28, 1]
layers = [
  { kind = "conv", filters = 4, kernel = 3, padding = "same", activation = "relu" },
  { kind = "max_pool", size = 2 },
  { kind = "dropout", rate = 0.25 },
  { kind = "conv", filters = 3, kernel = 3, padding = "valid", stride = 2, activation = "relu" },
  { kind = "flatten" },
  { kind = "dense", units = 16, activation = "relu" },
  { kind = "dropout", rate = 0.5 },
  { kind = "dense", units = 10 },
]
"""
RECIPE_TOML = """
epochs = 3
batch_size = 41
shift = 2
crop = 0.28
crop_share = 0.4
frozen_after = [0.3, 0.7]
averaging = 0.9
learning_rate = 0.005
"""
SMALL = Network.from_dict({"name": "small"} | tomllib.loads(SMALL_TOML))
RECIPE = Recipe.from_dict({"name": "test"} | tomllib.loads(RECIPE_TOML))


def test_a_share_of_a_batch_is_all_of_it_together() -> None:
    for size in (1, 2, 3, 7):
        for count in (0, 1, 2, 50):
            rows = [Group(rank, size, "").rows(count) for rank in range(size)]
            assert [i for part in rows for i in range(count)[part]] == list(range(count))


@pytest.mark.parametrize("shape", [(6, 8), (6, 3, 5, 4)])
def test_dropout_of_some_rows_is_that_of_the_whole_batch(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    from diptych.workflows.torch.parallel import WholeBatchDropout

    x = torch.randn(shape)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.manual_seed(3)
    whole = torch.nn.Dropout(0.4)(x)
    layer = WholeBatchDropout(0.4)
    for rows in (slice(0, 2), slice(2, 2), slice(2, 6)):
        layer.share = (rows, 6)
        torch.manual_seed(3)
        assert torch.equal(layer(x[rows]), whole[rows])
    assert torch.equal(layer.eval()(x[2:6]), x[2:6])


@pytest.mark.parametrize("rate", [0.25, 0.3])
@pytest.mark.parametrize("shape", [(6, 8), (6, 3, 5, 4)])
def test_dropout_of_some_rows_is_that_of_the_whole_batch_in_tensorflow(
    shape: tuple[int, ...], rate: float
) -> None:
    tf = pytest.importorskip("tensorflow")
    from diptych.workflows.tensorflow.dropout import drop, drop_rows

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = drop(tf.constant(x), rate, [3, 4]).numpy()
    assert 0 < np.mean(whole == 0) < 1
    for first, end in ((0, 2), (2, 2), (2, 6)):
        rows = tf.constant(x[first:end])
        dropped = drop_rows(rows, rate, [3, 4], tf.constant(first), tf.constant(6))
        assert np.array_equal(dropped, whole[first:end])


def first_losses(
    rank: int, size: int, rendezvous: str, name: str, recipe: Recipe, data: Data, answers: Any
) -> None:
    """Trains for the first steps; a process of its own begins here."""
    os.environ.update(registry.environment(name))
    group = Group(rank, size, rendezvous) if size > 1 else None
    workflow: Any = registry.load(name, group)(
        SMALL.with_dropout_scaled(recipe.dropout_scale), recipe, seed=5
    )
    if group:
        workflow.join(group)
    batches = Batches(data.train, recipe, seed=5)
    losses = []
    for step in range(STEPS):
        place = divmod(step, batches.steps_per_epoch)
        frozen = SMALL.frozen_weights(batches.frozen(*place))
        images, labels = batches.batch(*place)
        rate = batches.rates[step : step + 1]
        if name == "tensorflow":
            stacked = images[None], labels[None].astype(np.int64)
            loss, accuracy = workflow.run_steps(*stacked, rate, np.int32(step), frozen)
            losses.append((float(loss[0]), float(accuracy[0])))
        elif name == "torch":
            losses.append(workflow.train_step(images, labels, frozen))
        else:
            loss, accuracy = workflow.take(images[None], labels[None], rate, frozen)
            losses.append((loss[0], accuracy[0]))
    answers.put((rank, losses, workflow.weights(), workflow.logits(data.test.images[:7])))


def losses_of(size: int, name: str, recipe: Recipe, data: Data, folder: Path) -> list[Any]:
    """For each process, losses and accuracies of the first steps, and weights and logits after."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    rendezvous = f"file://{folder}/rendezvous-{name}-{size}"
    if name not in parallel.BY_FILE:
        rendezvous = ",".join(parallel.free_addresses("127.0.0.1", size))
    processes = [
        context.Process(
            target=first_losses, args=(rank, size, rendezvous, name, recipe, data, answers)
        )
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    received: list[Any] = []
    while len(received) < size:
        try:
            received.append(answers.get(timeout=1))
        except queue.Empty:
            assert not any(process.exitcode for process in processes), "a process has failed"
    for process in processes:
        process.join()
    return sorted(received, key=lambda answer: answer[0])


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in parallel.environment_of(2).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "name, size", [(name, size) for name in registry.PARALLEL for size in (2, 3)]
)
def test_the_first_losses_are_those_of_one_process(
    name: str, size: int, few_digits: Path, tmp_path: Path
) -> None:
    """Through cropped and whole images, freezing, dropout, shifts, and a last batch of 2."""
    pytest.importorskip(name)
    few_data = load_data(few_digits)
    [(_, single, weights, logits)] = losses_of(1, name, RECIPE, few_data, tmp_path)
    answers = losses_of(size, name, RECIPE, few_data, tmp_path)
    assert len(answers) == size
    for _, losses, ours, theirs in answers:
        assert np.allclose(losses, single, rtol=1e-5, atol=1e-6)
        assert np.abs(logits - theirs).max() < 1e-2
        for key, value in weights.items():
            # Adam divides by the root of tiny second moments; the losses are what is promised.
            assert np.abs(ours[key] - value).max() < 1e-3, key


def exit_code(*arguments: str | Path) -> int:
    """The exit code of the command line."""
    process = start(*arguments)
    process.communicate(timeout=LIMIT)
    return process.returncode


def long_training(name: str, data: Path, folder: Path) -> list[str]:
    """The words of a command that trains for many epochs, and saves every few steps."""
    network, recipe = folder / "small.toml", folder / "test.toml"
    network.write_text(SMALL_TOML)
    recipe.write_text(RECIPE_TOML.replace("epochs = 3", f"epochs = {EPOCHS}"))
    command = f"train {name} --network {network} --recipe {recipe} --data {data}"
    return [*command.split(), "--checkpoint-every", "5"]


def started(options: list[str], runs: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A training in two processes that has a checkpoint, and its folder."""
    process = start(*options, "--runs", runs, "--processes", "2")
    until = time.monotonic() + LIMIT
    while not (checkpoints := list(runs.glob("*/checkpoint/state.safetensors"))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    return process, checkpoints[0].parent.parent


@NEEDS_PROC
@pytest.mark.parametrize("name", registry.PARALLEL)
def test_a_killed_process_is_one_line_and_another_number_resumes(
    name: str, few_digits: Path, tmp_path: Path
) -> None:
    pytest.importorskip(name)
    options = [*long_training(name, few_digits, tmp_path), "--snapshots"]
    process, folder = started(options, tmp_path / "killed")
    first, second = sorted(child.pid for child in psutil.Process(process.pid).children())
    assert first != second
    [worker] = children(second)  # Its parent only waits for it.
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    last = errors.strip().splitlines()
    assert len([line for line in last if line.startswith("diptych:")]) == 1
    assert "process 2 of 2 ended by SIGKILL" in last[-1] and "diptych resume" in last[-1]
    assert Run(folder).status != "done"
    assert exit_code("resume", folder, "--processes", "3") == 0
    resumed = Run(folder)
    assert exit_code(*options, "--runs", tmp_path / "one") == 0
    [whole] = (Run(path.parent) for path in tmp_path.glob("one/*/run.json"))
    assert (resumed.result() or {})["processes"] == 3
    steps = snapshot_steps(resumed)
    assert steps == snapshot_steps(whole) and steps[0] == 0 and len(steps) > 3
    ours, theirs = resumed.metrics(), whole.metrics()
    assert len(ours) == len(theirs) == EPOCHS
    for key in ("train_loss", "validation_loss"):
        ratio = np.array([a[key] / b[key] for a, b in zip(ours, theirs, strict=True)])
        assert np.abs(ratio[0] - 1) < 1e-5
        assert np.abs(ratio[:SAME] - 1).max() < 1e-3


@pytest.mark.parametrize("name", registry.PARALLEL)
def test_ctrl_c_saves(name: str, few_digits: Path, tmp_path: Path) -> None:
    pytest.importorskip(name)
    process, folder = started(long_training(name, few_digits, tmp_path), tmp_path / "stopped")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert errors.strip() == f"Stopped and saved. `diptych resume {folder}` continues."
    assert Run(folder).status == "stopped"


@pytest.mark.parametrize(
    "workflow, reason",
    [
        ("keras", "keras-team/keras, issue 20585"),
        ("keras@jax", "does not yet resume from its checkpoint"),
        ("keras@torch", "gradients only in calls of its own"),
        ("numpy", "computes in one"),
    ],
)
def test_other_workflows_refuse_in_one_line(
    workflow: str,
    reason: str,
    few_digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = f"--data {few_digits} --runs {tmp_path} --recipe plain --processes 2"
    assert run(["train", workflow, *options.split()]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert reason in line and "tensorflow, torch, jax can train in several" in line
    assert not list(tmp_path.iterdir())


def test_a_wrong_number_of_processes_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train torch", "resume nothing"):
        assert run([*command.split(), "--processes", "0", "--runs", str(tmp_path)]) == 2
        [line] = capsys.readouterr().err.strip().splitlines()
        assert "--processes" in line
    with pytest.raises(InputError, match="processes = 0: expected 1 or more"):
        training.train("torch", runs=tmp_path, processes=0)


def test_a_cluster_for_one_process_or_none_there_is_one_line(
    few_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("ray")
    options = f"--data {few_digits} --runs {tmp_path} --recipe plain --ray 127.0.0.1:1".split()
    assert run(["train", "torch", *options]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "give --processes 2 or more" in line and not list(tmp_path.iterdir())
    assert run(["train", "torch", *options, "--processes", "2"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "no cluster answers there" in line
    assert run(["train", "tensorflow", *options, "--processes", "2"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "tensorflow has not been tested on several machines; torch and jax train" in line


def test_batch_normalisation_is_refused(few_digits: Path, tmp_path: Path) -> None:
    layers = [{"kind": "flatten"}, {"kind": "batch_norm"}, {"kind": "dense", "units": 10}]
    network = Network.from_dict({"name": "bn", "input_shape": [28, 28, 1], "layers": layers})
    with pytest.raises(InputError, match="bn has batch normalisation"):
        training.train("torch", network, data=str(few_digits), runs=tmp_path, processes=2)


def test_what_is_told_is_of_the_process_that_ended(tmp_path: Path) -> None:
    lost = (0, WorkerError("the worker process failed: RuntimeError: Connection closed by peer"))
    ended = (2, WorkerError("the worker process ended by SIGSEGV\nlast words"))
    told = str(parallel.told(Run(tmp_path), [lost, ended], 4))
    assert told.startswith("process 3 of 4 ended by SIGSEGV: ") and "\n" not in told
    told = str(parallel.told(Run(tmp_path), [lost], 4))
    assert told.startswith("process 1 of 4 failed: RuntimeError: Connection closed by peer: ")
