"""The loop that one writes around a PyTorch module, and its step."""

from typing import TYPE_CHECKING

import numpy as np

from diptych.data import Data
from diptych.data.batches import Batches
from diptych.workflows.progress import Monitor, Progress, State, end_epoch

if TYPE_CHECKING:
    from diptych.workflows.torch.workflow import Workflow


def fit(
    workflow: "Workflow", data: Data, monitor: Monitor, progress: Progress, state: State | None
) -> None:
    """Trains as `protocol.Workflow.fit` says."""
    batches = Batches(data.train, workflow.recipe, workflow.seed)
    workflow.optimizer.rates = batches.rates
    workflow.optimizer.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step
    workflow.best = workflow.restore(state) if state else {}
    while not progress.finished:
        for chunk in batches.chunks(progress.epoch, progress.step, most=1):
            [images], [labels] = chunk.arrays
            frozen = workflow.network.frozen_weights(chunk.frozen)
            loss, accuracy = workflow.train_step(images, labels, frozen)
            progress.add(chunk, np.array([loss]), np.array([accuracy]))
            if workflow.agreed(monitor.advanced(progress, workflow.state)):
                return
        if workflow.agreed(end_epoch(workflow, data.validation, monitor, progress)):
            return
