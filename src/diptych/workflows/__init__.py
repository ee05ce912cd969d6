"""The workflows, and what each of them must be able to do.

A workflow is one file that builds and trains a network as its framework's users would write it. The
rest of the package knows it only through the protocol here. What workflows share is data: the
network, the weights, the batches in order, the recipe. Each has its own control flow.
"""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from diptych.data import Data
from diptych.errors import InputError
from diptych.network import Network, Shape, Weights
from diptych.recipe import Recipe

NAMES = {
    "tensorflow": "low-level TensorFlow: tf.Variable, tf.nn, GradientTape, its own Adam and loop",
    "keras": "Keras on TensorFlow: Sequential, compile, fit",
    "jax": "JAX: pure functions of a dictionary of weights, jit, grad, optax",
    "numpy": "the reference: NumPy in float64, to be read and to check the others by; slow",
}
"""Each workflow's name and what it is; a workflow's module has the same name."""

State = dict[str, np.ndarray]
"""All arrays that a training needs to go on: weights, optimiser moments, random states."""


@dataclass
class Epoch:
    """What was measured in one epoch."""

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
    """How far a training is. With the state's arrays, all that a resume needs."""

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

    def next_epoch(self) -> None:
        """Counts the epoch under way as finished and starts the next one's sums."""
        self.epoch += 1
        self.step = self.images = 0
        self.seconds = self.loss_sum = self.correct = 0.0

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


class Workflow(Protocol):
    """A network built in one framework, and trained by its means.

    Every workflow's module has a class ``Workflow`` that is this. Images are uint8
    (n, height, width, channels), labels are integers (n,).
    """

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        """Builds the network with the initial weights of that seed."""
        ...

    def summary(self) -> dict[str, tuple[Shape, int]]:
        """Each layer's output shape and number of parameters, as the framework itself has them."""
        ...

    def weights(self) -> Weights:
        """A copy of the weights, in the shared layout."""
        ...

    def load(self, weights: Weights) -> None:
        """Puts weights in the shared layout into the network."""
        ...

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits at inference, float32 (n, classes), always computed in float32."""
        ...

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        """Mean loss and its gradients in training mode, in the recipe's precision; no step taken.

        The moving averages of batch normalisation are left as they were.
        """
        ...

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """One optimiser step on one batch, at the recipe's learning rate whatever its schedule.

        Returns:
            The mean loss before the step.
        """
        ...

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        """Trains by the recipe from ``progress`` on, with ``state`` from the checkpoint if any.

        Ends with ``progress.finished`` and the final weights in place, or when the monitor says so.
        """
        ...


def load(name: str) -> type[Workflow]:
    """The workflow of that name; this is what imports its framework.

    Raises:
        InputError: no workflow has that name.
    """
    check_name(name)
    return importlib.import_module(f"{__name__}.{name}").Workflow


def precision(name: str, recipe: Recipe) -> str:
    """The arithmetic that a workflow trains in: the recipe's, but the reference's is float64."""
    return "float64" if name == "numpy" else recipe.precision


def check_name(name: str) -> None:
    """Raises InputError unless a workflow has that name; imports no framework."""
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(NAMES)}"
        raise InputError(f"workflow {name!r}: no such workflow ({hint})")
