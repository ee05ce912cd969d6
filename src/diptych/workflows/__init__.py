"""The workflows, and what each of them must be able to do.

A workflow is one file that builds and trains a network as its framework's users would write it. The
rest of the package knows it only through the protocol here. What workflows share is data: the
network, the weights, the batches in order, the recipe. Each has its own control flow.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from diptych import extras
from diptych.data import Data
from diptych.errors import InputError
from diptych.network import Network, Shape, Weights
from diptych.recipe import Recipe

NAMES = {
    "tensorflow": "low-level TensorFlow: tf.Variable, tf.nn, GradientTape, its own Adam and loop",
    "keras": "Keras on TensorFlow: Sequential, compile, fit",
    "keras@jax": "the same Keras code on JAX",
    "keras@torch": "the same Keras code on PyTorch",
    "torch": "PyTorch: modules, torch.optim, and the loop that one writes around them",
    "jax": "JAX: pure functions of a dictionary of weights, jit, grad, optax",
    "numpy": "the reference: NumPy in float64, to be read and to check the others by; slow",
}
"""Each workflow's name and what it is. What is before an @ is its module, and what is after it the
backend that Keras runs on there; ``keras@tensorflow`` is another name for ``keras``."""
ALL = "all"
"""Stands for all workflows that are installed, but for the reference."""
NEEDS = {
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    "torch": ("torch",),
    "jax": ("jax", "optax"),
    "numpy": (),
}
"""The packages that a module, or a backend of Keras, of that name needs."""

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

    Keras gets the backend that `environment` says when it is imported, which is once a process.

    Raises:
        InputError: no workflow has that name, or its framework is not installed, or Keras runs on
            another backend here.
    """
    check(name)
    file = module(name)
    loaded = importlib.import_module(f"{__name__}.{file}")
    if file == "keras" and (found := sys.modules["keras"].config.backend()) != backend(name):
        raise InputError(
            f"workflow {name}: Keras runs on {found} in this process; expected the environment "
            f"variable KERAS_BACKEND={backend(name)} before it is imported"
        )
    return loaded.Workflow


def module(name: str) -> str:
    """The module, below this one, in which the workflow is."""
    return name.partition("@")[0]


def backend(name: str) -> str:
    """What Keras runs on in that workflow; of no meaning in one without Keras."""
    return name.partition("@")[2] or "tensorflow"


def environment(name: str) -> dict[str, str]:
    """The environment variables that a worker for that workflow starts with."""
    return {"KERAS_BACKEND": backend(name)}


def precision(name: str, recipe: Recipe) -> str:
    """The arithmetic that a workflow trains in: the recipe's, but the reference's is float64."""
    return "float64" if name == "numpy" else recipe.precision


def check_name(name: str) -> str:
    """Raises InputError unless a workflow has that name; imports no framework.

    Returns:
        The name that `NAMES` has for it.
    """
    if name == "keras@tensorflow":
        return "keras"
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(NAMES)}"
        raise InputError(f"workflow {name!r}: no such workflow ({hint})")
    return name


def check(name: str) -> str:
    """As `check_name`, and raises InputError too where the workflow's framework is not installed;
    imports no framework."""
    known = check_name(name)
    packages = NEEDS[module(known)]
    if module(known) == "keras":
        packages += NEEDS[backend(known)]
    extras.require(f"workflow {name}", *packages)
    return known


def installed() -> list[str]:
    """The names of the workflows whose frameworks are installed; imports none of them."""
    names = []
    for name in NAMES:
        try:
            names.append(check(name))
        except InputError:
            continue
    return names


def chosen(names: Sequence[str]) -> list[str]:
    """The workflows that the given names stand for: themselves, or what `ALL` is.

    Raises:
        InputError: no workflow has such a name, or its framework is not installed.
    """
    if list(names) == [ALL]:
        return [name for name in installed() if name != "numpy"]
    return [check(name) for name in names]
