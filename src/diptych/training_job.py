"""A training in the worker's process: watched, saved, and ended with the test images' answers."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np

from diptych import machine, worker
from diptych.data import Data, load_data
from diptych.events import (
    Done,
    EpochEnded,
    Evaluating,
    Loading,
    Report,
    Started,
    Stepped,
    WeightsKept,
    WeightsSummarised,
    to_plain,
)
from diptych.network import Weights
from diptych.runs import Run, Status
from diptych.snapshots import Snapshots
from diptych.worker import Arrays
from diptych.workflows import registry
from diptych.workflows.group import Group
from diptych.workflows.progress import Progress, State
from diptych.workflows.protocol import ParallelWorkflow, Workflow

SECONDS_BETWEEN_REPORTS = 0.1


class Recorder:
    """The monitor of a run: reports, saves checkpoints, and passes on that the person wants out."""

    def __init__(
        self,
        run: Run,
        epochs: int,
        steps: int,
        report: Report,
        stopping: Callable[[], bool],
        snapshots: Snapshots,
        weights: Callable[[], Weights] | None = None,
    ) -> None:
        """With ``weights`` their histograms are reported after each epoch."""
        self.run, self.epochs, self.steps, self.snapshots = run, epochs, steps, snapshots
        self.report, self.stopping, self.weights = report, stopping, weights
        self.checkpoint_every = run.checkpoint_every
        self.saved_step = 0
        self.reported_at = 0.0

    def advanced(self, progress: Progress, state: Callable[[], State]) -> bool:
        if not math.isfinite(progress.loss):
            raise FloatingPointError(
                f"the loss became {progress.loss} in epoch {progress.epoch + 1}, step "
                f"{progress.step}: lower the learning rate (--set learning_rate=...)"
            )
        self.snapshots.advanced(progress.epoch * self.steps + progress.step)
        now = time.monotonic()
        if now - self.reported_at >= SECONDS_BETWEEN_REPORTS:
            self.reported_at = now
            self.report(
                Stepped(
                    epoch=progress.epoch + 1,
                    epochs=self.epochs,
                    step=progress.step,
                    steps=self.steps,
                    loss=progress.loss,
                    accuracy=progress.accuracy,
                )
            )
        stop = self.stopping()
        every = self.checkpoint_every
        if stop or (every and progress.step // every > self.saved_step // every):
            self.run.save_checkpoint(progress, state())
            self.saved_step = progress.step
        return stop

    def epoch_ended(self, progress: Progress, state: Callable[[], State]) -> bool:
        epoch = progress.history[-1]
        if not math.isfinite(epoch.validation_loss):
            raise FloatingPointError(
                f"the validation loss is {epoch.validation_loss} after epoch {epoch.epoch}: "
                "lower the learning rate (--set learning_rate=...)"
            )
        self.saved_step = 0
        self.run.save_checkpoint(progress, state())
        self.run.save_metrics(progress)
        self.report(EpochEnded(epoch))
        if self.weights:
            from diptych.tensorboard import histogram

            histograms = {name: histogram(values) for name, values in self.weights().items()}
            self.report(WeightsSummarised(epoch.epoch, histograms))
        return self.stopping() and not progress.finished


def train_job(
    parameters: dict[str, Any], _: Arrays, report: worker.Report, stopping: Callable[[], bool]
) -> tuple[dict[str, Any], Arrays]:
    """Trains a run from its checkpoint, or from the beginning, to its end."""
    machine.forget_peak_memory()  # Of another run's training, where this process had one.
    run = Run(Path(parameters["run"]))
    with run.locked():
        run.remove_leftovers()
        data = load_data(run.description()["data"]["source"])
        run.check_data(data)
        progress, state = run.load_checkpoint()
        run.set_status("running")
        try:
            status = _train(
                run,
                data,
                progress,
                state,
                parameters,
                lambda event: report(to_plain(event)),
                stopping,
            )
        except FloatingPointError as problem:
            run.set_status("failed")
            return {"status": "failed", "reason": str(problem)}, {}
        except BaseException:
            with suppress(OSError):  # Where the disk is full, that is the news.
                run.set_status("failed")
            raise
        run.set_status(status)
    return {"status": status}, {}


class Silent:
    """The monitor of the other processes of a training: the first one reports and saves."""

    def advanced(self, progress: Progress, state: Callable[[], State]) -> bool:
        return False

    def epoch_ended(self, progress: Progress, state: Callable[[], State]) -> bool:
        return False


def follow_job(
    parameters: dict[str, Any], _: Arrays, report: worker.Report, stopping: Callable[[], bool]
) -> tuple[dict[str, Any], Arrays]:
    """Trains along with the process that does `train_job`, and computes its share."""
    run = Run(Path(parameters["run"]))
    data = load_data(run.description()["data"]["source"])
    progress, state = run.load_checkpoint()
    workflow = _workflow(run, parameters)
    workflow.fit(data, Silent(), progress, state)
    if progress.finished:
        workflow.logits(data.test.images)
    return {}, {}


def _workflow(run: Run, parameters: dict[str, Any]) -> Workflow:
    """The run's workflow, which has met the other processes where there are several."""
    recipe = run.recipe
    network = run.network.with_dropout_scaled(recipe.dropout_scale)
    if "group" not in parameters:
        return registry.load(run.workflow)(network, recipe, run.seed)
    group = Group(**parameters["group"])
    workflow = registry.load(run.workflow, group)(network, recipe, run.seed)
    cast(ParallelWorkflow, workflow).join(group)
    return workflow


def _train(
    run: Run,
    data: Data,
    progress: Progress,
    state: State | None,
    parameters: dict[str, Any],
    report: Report,
    stopping: Callable[[], bool],
) -> Status:
    network, recipe, seed = run.network, run.recipe, run.seed
    run.save_metrics(progress)
    report(
        Loading(
            run=parameters["shown_as"],
            workflow=run.workflow,
            network=network.name,
            recipe=recipe.name,
            precision=registry.precision(run.workflow, recipe),
            seed=seed,
        )
    )
    workflow = _workflow(run, parameters)
    steps = -(-len(data.train.labels) // recipe.batch_size)
    start_seconds = time.time() - parameters["asked_at"]
    report(Started(progress.epoch + 1, recipe.epochs, progress.step, steps))
    weights = workflow.weights if parameters["histograms"] else None
    snapshots = Snapshots(run, workflow.weights)
    if state is None:
        snapshots.advanced(0)
    recorder = Recorder(run, recipe.epochs, steps, report, stopping, snapshots, weights)
    workflow.fit(data, recorder, progress, state)
    if not progress.finished:
        return "stopped"

    kept = progress.best_epoch or progress.epoch
    if recipe.early_stopping:
        early = progress.epoch < recipe.epochs
        report(WeightsKept(kept, progress.epoch, early))
    peak = machine.peak_memory_mib()
    run.save_weights(workflow.weights())
    report(Evaluating())
    began = time.perf_counter()
    logits = workflow.logits(data.test.images)
    test_seconds = time.perf_counter() - began
    run.save_predictions(logits, data.test.labels)
    train_seconds = sum(epoch.train_seconds for epoch in progress.history)
    correct = int(np.sum(np.argmax(logits, axis=1) == data.test.labels))
    result = {
        "test_accuracy": correct / len(data.test.labels),
        "test_correct": correct,
        "test_images": len(data.test.labels),
        "validation_accuracy": progress.history[kept - 1].validation_accuracy,
        "validation_loss": progress.history[kept - 1].validation_loss,
        "epochs": progress.epoch,
        "epoch_of_the_weights": kept,
        "train_seconds": train_seconds,
        "validation_seconds": sum(epoch.validation_seconds for epoch in progress.history),
        "start_seconds": start_seconds,
        "test_seconds": test_seconds,
        "images_per_second": progress.epoch * len(data.train.labels) / train_seconds,
        "peak_memory_mib": peak,
        "processes": parameters["group"]["size"] if "group" in parameters else 1,
    }
    run.save_result(result)
    report(Done(result["test_accuracy"], kept))
    return "done"
