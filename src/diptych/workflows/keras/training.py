"""The training in Keras: `fit`, once for each stretch of like epochs."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

import time
from typing import TYPE_CHECKING

from diptych.data import Data, Split
from diptych.data.batches import Batches
from diptych.workflows.keras.batches import Images, TrainingBatches
from diptych.workflows.keras.callbacks import EarlyStopping, Recorder, Stopped, to_array
from diptych.workflows.keras.optimiser import RateTable
from diptych.workflows.progress import Monitor, Progress, State

if TYPE_CHECKING:
    from diptych.workflows.keras.workflow import Workflow


def fit(
    workflow: "Workflow", data: Data, monitor: Monitor, progress: Progress, state: State | None
) -> None:
    """Trains as described in `protocol.Workflow.fit`."""
    batches = Batches(data.train, workflow.recipe, workflow.seed)
    if workflow.recipe.schedule != "constant":
        workflow.learning_rate = RateTable(batches.rates)
        workflow.compile()
    best = []
    if state:  # It belongs to what was frozen at the last step.
        workflow.freeze(batches.frozen(progress.epoch, progress.step - 1))
        best = workflow.restore(state)
    early_stopping = (
        EarlyStopping(workflow.recipe.early_stopping, progress, best)
        if workflow.recipe.early_stopping
        else None
    )
    recorder = Recorder(workflow, monitor, progress, batches.steps_per_epoch, early_stopping)
    try:
        while not progress.finished:
            fit_segment(workflow, batches, data.validation, progress, early_stopping, recorder)
    except Stopped:
        return


def fit_segment(
    workflow: "Workflow",
    batches: Batches,
    validation: Split,
    progress: Progress,
    early_stopping: EarlyStopping | None,
    recorder: Recorder,
) -> None:
    """Trains the epochs that one call of `fit` can do, which differ only in their images.

    The rest of an interrupted epoch takes a separate call of `fit`, and so do the parts of an epoch
    before and after the images stop being cropped or another layer is frozen.
    """
    epoch, step, steps = progress.epoch, progress.step, batches.steps_per_epoch
    turn = batches.next_turn(epoch, step)
    end = min(turn, steps)
    last = epoch + (turn // steps if step == 0 and end == steps else 1)
    ends = end == steps
    recorder.clock = time.perf_counter()
    workflow.freeze(batches.frozen(epoch, step))
    if batches.window(epoch, step) != batches.window(epoch, step - 1):
        # Otherwise the next graph would be one for any size, unlike after resuming here.
        workflow.model.make_train_function(force=True)
    workflow.model.fit(
        TrainingBatches(batches, progress, end),
        shuffle=False,
        initial_epoch=epoch,
        epochs=last,
        validation_data=Images(validation.images, validation.labels) if ends else None,
        callbacks=[early_stopping, recorder] if early_stopping and ends else [recorder],
        verbose=0,
    )
    if not ends:
        recorder.count_seconds()
        workflow.saved_metrics = [to_array(v) for v in workflow.model.metrics_variables]
