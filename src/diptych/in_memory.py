"""Trains on images that are in memory, and keeps no folder: weights and numbers come back.

The reference, `numpy`, has no framework and works in this process. Every other workflow works in a
worker, and that one stays for the next call: a search over many trainings starts the framework
once.
"""

import atexit
import math
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from diptych.data import Data, Split
from diptych.errors import InputError
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.training import TrainingFailed
from diptych.worker import Arrays, Job, Report, Worker
from diptych.workflows import registry
from diptych.workflows.progress import Epoch, Progress, State


def fit(
    workflow: str,
    network: Network,
    recipe: Recipe,
    seed: int,
    train: Split,
    validation: Split,
    report: Callable[[Epoch], None] = lambda _: None,
) -> tuple[Weights, list[dict[str, Any]]]:
    """Trains a network, from the weights and with the batches that a run of this seed has.

    Args:
        workflow: one of `diptych.workflows.registry.NAMES`.
        network: one that fits the images.
        recipe: how to train it; its precision is not ``auto``.
        seed: where all random numbers come from.
        train: what to train on.
        validation: what to validate on after each epoch, one image or more.
        report: called after each epoch with what was measured.

    Returns:
        The weights in the shared layout, and what was measured, a dict an epoch.

    Raises:
        KeyboardInterrupt: Ctrl-C; nothing is kept.
        TrainingFailed: the loss stopped being a number.
    """
    parameters = {
        "workflow": workflow,
        "network": network.to_dict(),
        "recipe": recipe.to_dict(),
        "seed": seed,
    }
    arrays = {
        "images": train.images,
        "labels": train.labels,
        "validation images": validation.images,
        "validation labels": validation.labels,
    }
    answer, weights = _call(
        workflow, fit_job, parameters, arrays, lambda epoch: report(Epoch(**epoch))
    )
    if "failed" in answer:
        raise TrainingFailed(answer["failed"])
    return weights, answer["history"]


def logits(workflow: str, network: Network, weights: Weights, images: np.ndarray) -> np.ndarray:
    """The logits of images, float32 (n, classes), computed by that workflow in float32.

    Args:
        workflow: one of `diptych.workflows.registry.NAMES`.
        network: the weights' own.
        weights: in the shared layout.
        images: uint8 (n, height, width, channels).
    """
    parameters = {"workflow": workflow, "network": network.to_dict()}
    arrays = {"images": images} | {f"weights/{name}": value for name, value in weights.items()}
    return _call(workflow, logits_job, parameters, arrays)[1]["logits"]


class EpochsOnly:
    """The monitor of a training that is not saved: reports each epoch, and stops when asked to."""

    def __init__(self, report: Report, stopping: Callable[[], bool]) -> None:
        self.report, self.stopping = report, stopping

    def advanced(self, progress: Progress, state: Callable[[], State]) -> bool:
        return self.stopping()

    def epoch_ended(self, progress: Progress, state: Callable[[], State]) -> bool:
        epoch = progress.history[-1]
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.validation_loss)):
            raise FloatingPointError(
                f"the loss is not a number after epoch {epoch.epoch}: lower the learning rate"
            )
        self.report(asdict(epoch))
        return self.stopping()


def fit_job(
    parameters: dict[str, Any], arrays: Arrays, report: Report, stopping: Callable[[], bool]
) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process, or in this one: trains, and answers with history and weights."""
    network = Network.from_dict(parameters["network"])
    recipe = Recipe.from_dict(parameters["recipe"])
    train = Split(arrays["images"], arrays["labels"])
    validation = Split(arrays["validation images"], arrays["validation labels"])
    names = tuple(map(str, range(network.classes)))
    data = Data("arrays", "", train, validation, validation, names)
    Workflow = registry.load(parameters["workflow"])
    workflow = Workflow(
        network.with_dropout_scaled(recipe.dropout_scale), recipe, parameters["seed"]
    )
    progress = Progress()
    try:
        workflow.fit(data, EpochsOnly(report, stopping), progress)
    except FloatingPointError as problem:
        return {"failed": str(problem)}, {}
    return {"history": [asdict(epoch) for epoch in progress.history]}, workflow.weights()


def logits_job(
    parameters: dict[str, Any], arrays: Arrays, _: Report, __: object
) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process, or in this one: the logits of the given images."""
    network = Network.from_dict(parameters["network"])
    Workflow = registry.load(parameters["workflow"])
    workflow = Workflow(network, Recipe(precision="float32"), seed=0)
    workflow.load({name: arrays[f"weights/{name}"] for name in network.weight_shapes()})
    return {}, {"logits": workflow.logits(arrays["images"])}


# The workers that stay, by their workflows.
_lock = threading.Lock()
_kept: dict[str, Worker] = {}
_of_others: list[dict[str, Worker]] = []


def _call(
    workflow: str,
    job: Job,
    parameters: dict[str, Any],
    arrays: Arrays,
    report: Report = lambda _: None,
) -> tuple[dict[str, Any], Arrays]:
    """Has the job done by the workflow's worker, or here where there is no framework to keep off.

    Threads that call at the same time wait for each other.
    """
    workflow = registry.check(workflow)
    if workflow == "numpy":
        return job(parameters, arrays, report, lambda: False)
    with _lock:
        if workflow not in _kept or not _kept[workflow].is_alive:
            _end(workflow)
            _kept[workflow] = Worker(registry.environment(workflow))
        try:
            return _kept[workflow].call(job, parameters, arrays, report)
        except InputError:
            raise
        except BaseException:  # It may be gone, or still at work: the next call starts another.
            _end(workflow)
            raise


def _end(workflow: str) -> None:
    if worker := _kept.pop(workflow, None):
        worker.close()


def _end_all() -> None:
    for workflow in list(_kept):
        _end(workflow)


def _forget() -> None:
    """In a forked process: the workers are the parent's, and so is whoever holds the lock."""
    global _kept, _lock
    _of_others.append(_kept)  # An object that goes takes its worker's files with it.
    _kept, _lock = {}, threading.Lock()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget)
