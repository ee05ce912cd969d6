"""Callbacks for `fit`: early stopping that can resume, and the recorder of batches and epochs."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from diptych.workflows.progress import Epoch, Monitor, Progress, State

if TYPE_CHECKING:
    from diptych.workflows.keras.workflow import Workflow


def to_array(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' own early stopping, able to go on where a checkpoint left it."""

    def __init__(self, patience: int, progress: Progress, best: list[np.ndarray]) -> None:
        super().__init__("val_loss", mode="min", patience=patience, restore_best_weights=True)
        self.progress, self.kept = progress, best

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        if self.kept:
            self.best, self.best_epoch = self.progress.best_loss, self.progress.best_epoch - 1
            self.best_weights, self.wait = self.kept, self.progress.waited

    def on_epoch_end(self, epoch, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.kept = self.best_weights
        self.progress.best_loss, self.progress.best_epoch = float(self.best), self.best_epoch + 1
        self.progress.waited = self.wait

    def on_train_end(self, logs: Any = None) -> None:
        if self.progress.finished:
            super().on_train_end(logs)


class Stopped(Exception):
    """The monitor asked `fit` to stop, and has saved the state."""


class Recorder(keras.callbacks.Callback):
    """Tells the monitor of every batch and epoch, and has it save the state."""

    def __init__(
        self,
        workflow: "Workflow",
        monitor: Monitor,
        progress: Progress,
        steps_per_epoch: int,
        early_stopping: EarlyStopping | None,
    ) -> None:
        super().__init__()
        self.workflow, self.monitor, self.progress = workflow, monitor, progress
        self.steps_per_epoch = steps_per_epoch
        self.early_stopping = early_stopping
        self.clock = 0.0
        """When what is being timed, training or validation, began."""
        self.validation_seconds = 0.0
        self.newest: list[np.ndarray] = []

    def state(self) -> State:
        return self.workflow.state(self.early_stopping.kept if self.early_stopping else [])

    def on_epoch_begin(self, epoch, logs: Any = None) -> None:
        if self.progress.step:
            self.workflow.restore_metrics()

    def count_seconds(self) -> None:
        """Adds the training since the clock was set to the progress."""
        self.progress.seconds += time.perf_counter() - self.clock

    def on_train_batch_end(self, batch, logs: Any = None) -> None:
        self.count_seconds()
        self.progress.step += 1
        self.progress.loss = float(logs["last_batch_loss"])
        self.progress.accuracy = float(logs["last_batch_accuracy"])
        # After an epoch's last batch comes its validation, and `fit` could not begin there again.
        last = self.progress.step == self.steps_per_epoch
        if not last and self.monitor.advanced(self.progress, self.state):
            raise Stopped
        self.clock = time.perf_counter()  # What the monitor does is not training.

    def on_test_begin(self, logs: Any = None) -> None:
        self.count_seconds()  # The end of the batches' threads.
        self.clock = time.perf_counter()
        averages = self.workflow.averages()
        variables = self.workflow.model.trainable_variables
        self.newest = [to_array(variable) for variable in variables if averages]
        for variable, average in zip(variables, averages, strict=False):
            variable.assign(to_array(average))  # A copy: JAX gives up what it evaluates with.

    def on_test_end(self, logs: Any = None) -> None:
        self.validation_seconds = time.perf_counter() - self.clock

    def on_epoch_end(self, epoch, logs: Any = None) -> None:
        if self.progress.step < self.steps_per_epoch:  # The rest comes in another `fit`.
            return
        self.progress.history.append(
            Epoch(
                epoch=epoch + 1,
                last_batch_loss=self.progress.loss,
                last_batch_accuracy=self.progress.accuracy,
                train_loss=logs["loss"],
                train_accuracy=logs["accuracy"],
                validation_loss=logs["val_loss"],
                validation_accuracy=logs["val_accuracy"],
                train_seconds=self.progress.seconds,
                validation_seconds=self.validation_seconds,
            )
        )
        self.progress.next_epoch()
        self.progress.finished = (
            self.workflow.model.stop_training or self.progress.epoch == self.workflow.recipe.epochs
        )
        if self.progress.finished and self.early_stopping:
            # Keras would put the best weights back only after the last checkpoint.
            self.early_stopping.on_train_end()
        if not self.progress.finished:
            variables = self.workflow.model.trainable_variables
            for variable, value in zip(variables, self.newest, strict=False):
                variable.assign(value)
        if self.monitor.epoch_ended(self.progress, self.state):
            raise Stopped
        self.clock = time.perf_counter()
