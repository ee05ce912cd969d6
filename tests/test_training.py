import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import machine, training
from diptych.data import load_data
from diptych.errors import InputError
from diptych.events import (
    Done,
    EpochEnded,
    Evaluating,
    Event,
    Loading,
    Started,
    Stepped,
    WeightsKept,
)
from diptych.lines import line_of, print_line
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run, find
from diptych.training import TrainingFailed
from diptych.worker import WorkerError
from diptych.workflows import registry
from diptych.workflows.progress import Epoch
from support import NEEDS_PROC, assert_same_training, kill_workers, measured

MakeRun = Callable[..., Run]
ARTICLE = (
    r"Epoch \d+ \| Last Batch Train Loss: \d+\.\d{4} \| Last Batch Train Accuracy: [01]\.\d{4} \| "
    r"Validation Loss: \d+\.\d{4} \| Validation Accuracy: [01]\.\d{4}"
)


def test_the_article_s_lines_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    epoch = Epoch(
        epoch=1,
        last_batch_loss=0.02463,
        last_batch_accuracy=1.0,
        train_loss=0.1,
        train_accuracy=0.9,
        validation_loss=0.05349,
        validation_accuracy=0.9848,
        train_seconds=1.0,
        validation_seconds=1.0,
    )
    print_line(EpochEnded(epoch))
    print_line(Stepped(epoch=1, epochs=2, step=3, steps=4, loss=0.5, accuracy=0.5))
    print_line(Done(test_accuracy=0.9932, epoch_of_the_weights=1))
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1 | Last Batch Train Loss: 0.0246 | Last Batch Train Accuracy: 1.0000 | "
        "Validation Loss: 0.0535 | Validation Accuracy: 0.9848",
        "Final accuracy on test set: 0.9932",
    ]


def test_a_run_reports_what_it_measures(new_run: MakeRun) -> None:
    events: list[Event] = []
    run = training.carry_out(new_run(), events.append)
    kinds = [type(event) for event in events if not isinstance(event, Stepped)]
    assert kinds == [Loading, Started, EpochEnded, EpochEnded, Evaluating, Done]
    epochs = [event.measured for event in events if isinstance(event, EpochEnded)]
    assert [dataclasses.asdict(epoch) for epoch in epochs] == run.metrics()
    first, *lines, last = filter(None, map(line_of, events))
    # Whatever the recipe says, the reference computes in float64.
    assert first == f"numpy: network small, recipe quick (float64), seed 0, in {run.folder}"
    assert all(re.fullmatch(ARTICLE, line) for line in lines)
    assert last.startswith("Final accuracy on test set: ")
    steps = [event for event in events if isinstance(event, Stepped)]
    assert steps
    assert all(event.steps == 11 and 1 <= event.step <= 11 for event in steps)
    result = run.result() or {}
    assert events[-1] == Done(result["test_accuracy"], result["epoch_of_the_weights"])


def test_training_learns_and_is_the_same_each_time(new_run: MakeRun) -> None:
    """Bit by bit, with dropout, shifts and a schedule; `test_resume` has the other workflows."""
    values = {"epochs": 3, "shift": 1, "schedule": "one-cycle", "learning_rate": 0.02}
    runs = [training.carry_out(new_run(**values), lambda _: None) for _ in range(2)]
    assert_same_training(*runs)
    losses = [epoch["train_loss"] for epoch in runs[0].metrics()]
    assert losses == sorted(losses, reverse=True)
    assert (runs[0].result() or {})["test_accuracy"] > 0.2


def test_another_seed_is_another_training(new_run: MakeRun) -> None:
    runs = [training.carry_out(new_run(seed=seed), lambda _: None) for seed in (0, 1)]
    assert measured(runs[0]) != measured(runs[1])


def test_a_loss_that_is_no_number_fails(new_run: MakeRun) -> None:
    run = new_run(learning_rate=1e300)
    with pytest.raises(TrainingFailed, match=r"^[^\n]+$") as raised:
        training.carry_out(run, lambda _: None)
    assert str(run.folder) in str(raised.value)
    assert "lower the learning rate" in str(raised.value)
    assert run.status == "failed"
    assert run.result() is None


@pytest.mark.parametrize("workflow", ["numpy", "tensorflow"])
def test_early_stopping_keeps_the_best_epoch(workflow: str, new_run: MakeRun) -> None:
    """At a rate at which the few digits are soon known by heart."""
    run = new_run(workflow, epochs=60, learning_rate=0.05, early_stopping=2, dropout_scale=0.0)
    events: list[Event] = []
    training.carry_out(run, events.append)
    losses = [epoch["validation_loss"] for epoch in run.metrics()]
    result = run.result() or {}
    best = int(np.argmin(losses)) + 1
    assert len(losses) == result["epochs"] == best + 2 < 60
    assert result["epoch_of_the_weights"] == best
    [kept] = [event for event in events if isinstance(event, WeightsKept)]
    assert kept == WeightsKept(epoch=best, epochs=best + 2, early=True)
    assert result["validation_loss"] == losses[best - 1]
    assert result["validation_accuracy"] == run.metrics()[best - 1]["validation_accuracy"]

    # The weights that were kept are those of that epoch: the reference measures the same.
    reference = registry.load("numpy")(run.network, run.recipe, 0)
    reference.load(run.weights())
    data = load_data(run.description()["data"]["source"])
    found = reference.logits(data.validation.images)
    losses_again = np.log(np.exp(found).sum(1)) - found[np.arange(30), data.validation.labels]
    assert losses_again.mean() == pytest.approx(losses[best - 1], rel=1e-4)
    logits, _ = run.predictions()
    assert np.allclose(reference.logits(data.test.images), logits, rtol=1e-3, atol=1e-3)


def test_data_that_do_not_fit_the_network(tmp_path: Path, few_digits: Path, small: Network) -> None:
    data = load_data(few_digits)
    larger = dataclasses.replace(data, class_names=(*data.class_names, "A"))
    odd = Network.from_dict(small.to_dict() | {"input_shape": [30, 28, 1]})
    for network, given, said in ((small, larger, "11 classes"), (odd, data, "28×28×1")):
        with pytest.raises(InputError, match=said):
            training.create("numpy", network, "fast", given, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_adapt_fits_the_network_to_the_data(tmp_path: Path, few_digits: Path) -> None:
    odd = Network.from_dict(
        {
            "name": "odd",
            "input_shape": [5, 7, 3],
            "layers": [{"kind": "flatten"}, {"kind": "dense", "units": 3}],
        }
    )
    recipe = Recipe(epochs=1)
    run = training.train("numpy", odd, recipe, str(few_digits), runs=tmp_path, adapt=True)
    assert run.network.input_shape == (28, 28, 1)
    assert run.network.classes == 10
    assert run.weights()["output/kernel"].shape == (784, 10)


def test_a_batch_larger_than_the_data_is_all_of_it(new_run: MakeRun) -> None:
    run = training.carry_out(new_run(batch_size=100_000, epochs=1), lambda _: None)
    assert len(run.metrics()) == 1
    assert run.result()


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "1", True, None])
def test_what_is_no_seed(tmp_path: Path, seed: Any, small: Network, few_digits: Path) -> None:
    with pytest.raises(InputError, match="expected a whole number from 0"):
        training.train("numpy", small, "fast", str(few_digits), seed, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_recipe_is_the_network_s_own_unless_given(tmp_path: Path, few_digits: Path) -> None:
    of_network = training.create("numpy", "article-keras", data=str(few_digits), runs=tmp_path)
    assert of_network.recipe.name == "article-keras"
    of_none = training.create("numpy", "article", data=str(few_digits), runs=tmp_path)
    assert of_none.recipe.name == "plain", "fast is made for the whole of MNIST"
    assert training.create("numpy", "article", runs=tmp_path).recipe.name == "fast"


@pytest.mark.parametrize(
    ("flags", "precision"),
    [({"avx2", "avx512f"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")],
)
def test_arithmetic_is_bfloat16_where_the_processor_has_it(
    flags: set[str],
    precision: str,
    tmp_path: Path,
    few_digits: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "processor", lambda: ("a processor", frozenset(flags)))
    run = training.create("keras", "article", "fast", str(few_digits), runs=tmp_path)
    assert run.recipe.precision == precision, "a run says what it will do"


def test_ctrl_c_saves_the_run_and_says_how_to_go_on(new_run: MakeRun) -> None:
    run, reference = new_run(epochs=40), new_run(epochs=40)

    def press(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.measured.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as raised:
        training.carry_out(run, press)
    assert str(raised.value) == f"Stopped and saved. `diptych resume {run.folder}` continues."
    assert run.status == "stopped"
    done = len(run.metrics())
    assert 2 <= done < 40
    events: list[Event] = []
    training.resume(run.folder, events.append)
    assert next(event for event in events if isinstance(event, Started)).epoch == done + 1
    training.carry_out(reference, lambda _: None)
    assert_same_training(run, reference)


def test_ctrl_c_in_the_last_moment(new_run: MakeRun) -> None:
    def press(event: Event) -> None:
        if isinstance(event, Evaluating):
            os.kill(os.getpid(), signal.SIGINT)

    run = new_run()
    with pytest.raises(KeyboardInterrupt, match="had just ended"):
        training.carry_out(run, press)
    assert run.status == "done"
    assert run.result()


@NEEDS_PROC
def test_a_worker_that_was_killed(new_run: MakeRun) -> None:
    run, reference = new_run(epochs=40), new_run(epochs=40)

    def kill(event: Event) -> None:
        if isinstance(event, EpochEnded):
            kill_workers()

    with pytest.raises(WorkerError, match=r"SIGKILL \(out of memory\?\)") as raised:
        training.carry_out(run, kill)
    assert str(raised.value).startswith(f"run {run.folder}: ")
    assert run.status_now == "killed"
    training.resume(run, lambda _: None)
    training.carry_out(reference, lambda _: None)
    assert_same_training(run, reference)


def test_a_finished_run_is_left_as_it_is(pair: dict[str, Run]) -> None:
    run = pair["numpy"]
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")}
    assert training.resume(run).folder == run.folder
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*")} == before


def test_peak_memory_is_the_workers_own(tmp_path: Path, few_digits: Path, small_toml: Path) -> None:
    """On Linux a child's ``getrusage`` begins with what its parent had at the fork."""
    code = (
        "import sys, numpy as np; from diptych import train, Recipe\n"
        "ballast = np.ones(100_000_000)\n"
        "run = train('numpy', sys.argv[1], Recipe(epochs=1), sys.argv[2], runs=sys.argv[3])\n"
        "print(run.result()['peak_memory_mib'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, small_toml, few_digits, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    peak = float(done.stdout.splitlines()[-1])
    assert 20 < peak < 600
    assert len(find(tmp_path)) == 1
