"""The training loop of the reference: one step after the other."""

from typing import TYPE_CHECKING

import numpy as np

from diptych.data import Data
from diptych.data.batches import Batches
from diptych.workflows.progress import Monitor, Progress, State, end_epoch

if TYPE_CHECKING:
    from diptych.workflows.numpy.workflow import Workflow


def fit(
    workflow: "Workflow", data: Data, monitor: Monitor, progress: Progress, state: State | None
) -> None:
    """Trains as `protocol.Workflow.fit` says."""
    batches = Batches(data.train, workflow.recipe, workflow.seed)
    workflow.best = workflow.restore(state) if state else {}
    workflow.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step
    while not progress.finished:
        for chunk in batches.chunks(progress.epoch, progress.step, most=1):
            ([images], [labels]), [rate] = chunk.arrays, chunk.rates
            frozen = workflow.network.frozen_weights(chunk.frozen)
            loss, accuracy = workflow.train_step(images, labels, rate, frozen)
            progress.add(chunk, np.array([loss]), np.array([accuracy]))
            if monitor.advanced(progress, workflow.state):
                return
        if end_epoch(workflow, data.validation, monitor, progress):
            return
