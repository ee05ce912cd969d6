"""The progress of a training, and the end of an epoch, which is the same in every workflow."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from diptych.data import Split
from diptych.data.batches import Chunk
from diptych.network import Weights
from diptych.recipe import Recipe

State = dict[str, np.ndarray]
"""All arrays that a training needs to go on: weights, optimiser moments, random states."""


@dataclass
class Epoch:
    """The measurements of one epoch."""

    epoch: int
    """Counted from 1."""
    last_batch_loss: float
    last_batch_accuracy: float
    train_loss: float
    """The mean over the epoch's batches, while the weights moved and dropout was on."""
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    train_seconds: float
    validation_seconds: float


@dataclass
class Progress:
    """The progress of a training. With the arrays of its state, this is all that a resume needs."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done in the epoch under way."""
    seconds: float = 0.0
    """Training time in the epoch under way."""
    loss_sum: float = 0.0
    """Sums over the images of the epoch under way, for its means."""
    correct: float = 0.0
    images: int = 0
    loss: float = 0.0
    """Of the newest batch; of all batches so far in the epoch where a workflow has only those."""
    accuracy: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    """For early stopping: the epoch with the smallest validation loss, and epochs since."""
    best_loss: float = float("inf")
    waited: int = 0
    finished: bool = False

    def add(self, chunk: Chunk, losses: np.ndarray, accuracies: np.ndarray) -> None:
        """Adds steps that were done, and the seconds since their batches were asked for.

        Args:
            chunk: the steps' batches.
            losses, accuracies: of each step (steps,), means over its batch.
        """
        self.step += chunk.steps
        self.images += chunk.steps * chunk.size
        self.loss_sum += float(losses.sum()) * chunk.size
        self.correct += float(accuracies.sum()) * chunk.size
        self.loss, self.accuracy = float(losses[-1]), float(accuracies[-1])
        self.seconds += time.perf_counter() - chunk.asked_for

    def next_epoch(self) -> None:
        """Counts the epoch under way as finished and starts the next one's sums."""
        self.epoch += 1
        self.step = self.images = 0
        self.seconds = self.loss_sum = self.correct = 0.0

    def end_epoch(self, recipe: Recipe, loss: float, accuracy: float, seconds: float) -> bool:
        """Notes the epoch under way with its validation, and whether the training has finished.

        Args:
            recipe: says how many epochs there are, and when to stop early.
            loss, accuracy, seconds: of the validation.

        Returns:
            Whether this epoch's weights are to be kept as the best so far, for early stopping.
        """
        self.history.append(
            Epoch(
                epoch=self.epoch + 1,
                last_batch_loss=self.loss,
                last_batch_accuracy=self.accuracy,
                train_loss=self.loss_sum / self.images,
                train_accuracy=self.correct / self.images,
                validation_loss=loss,
                validation_accuracy=accuracy,
                train_seconds=self.seconds,
                validation_seconds=seconds,
            )
        )
        self.next_epoch()
        best = recipe.early_stopping is not None and loss < self.best_loss
        if best:
            self.best_epoch, self.best_loss = self.epoch, loss
        if recipe.early_stopping is not None:
            self.waited = self.epoch - self.best_epoch
        self.finished = self.epoch == recipe.epochs or (
            recipe.early_stopping is not None and self.waited >= recipe.early_stopping
        )
        return best

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which `from_dict` makes the same progress."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Progress":
        """The progress of the given plain data."""
        progress = cls(**data)
        progress.history = [Epoch(**epoch) for epoch in data["history"]]
        return progress


class Monitor(Protocol):
    """Who watches a training: shows it, saves it, and may ask it to stop."""

    def advanced(self, progress: Progress, state: Callable[[], State]) -> bool:
        """Called after every few steps; ``state`` is called only when a checkpoint is due.

        Returns:
            Whether to stop; the state has then been saved.
        """
        ...

    def epoch_ended(self, progress: Progress, state: Callable[[], State]) -> bool:
        """Called after each epoch's validation, with the epoch at the end of the history."""
        ...


class Looped(Protocol):
    """The interface that `end_epoch` needs from a workflow with its own loop."""

    recipe: Recipe
    best: Weights
    """Of early stopping: the weights of the best epoch so far, if any."""

    def exact_weights(self) -> Weights:
        """A copy of the weights in the precision that the workflow keeps them in."""
        ...

    def averaged_weights(self) -> Weights:
        """Running averages of the trained weights; empty if the recipe has none."""
        ...

    def load(self, weights: Weights) -> None:
        """Puts weights into the network."""
        ...

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        ...

    def state(self) -> State:
        """All arrays that a resume needs."""
        ...


def end_epoch(workflow: Looped, validation: Split, monitor: Monitor, progress: Progress) -> bool:
    """Validates, with the averages in the weights' place, and notes the epoch.

    At the training's end the averages stay, or the best epoch's weights come back.

    Returns:
        Whether the monitor asks to stop.
    """
    start = time.perf_counter()
    newest = workflow.exact_weights()
    workflow.load(newest | workflow.averaged_weights())
    loss, accuracy = workflow.evaluate(validation)
    seconds = time.perf_counter() - start
    if progress.end_epoch(workflow.recipe, loss, accuracy, seconds):
        workflow.best = workflow.exact_weights()
    if not progress.finished:
        workflow.load(newest)
    elif workflow.best:
        workflow.load(workflow.best)
    return monitor.epoch_ended(progress, workflow.state)
