"""The protocol of a workflow, through which the rest of the package uses it."""

from typing import Protocol

import numpy as np

from diptych.data import Data
from diptych.layers import Shape
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.group import Group
from diptych.workflows.progress import Monitor, Progress, State


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


class ParallelWorkflow(Workflow, Protocol):
    """A workflow that can train in several processes at once (`registry.check_processes`).

    Its package has a module ``parallel`` with a function ``meet(group)``, which waits until all
    processes of the group are there. `registry.load` calls it before the workflow is built.
    """

    def join(self, group: Group) -> None:
        """Trains together with the other processes of the group, which it has met, from now on.

        `fit` and `logits` are then called in each of them, and give the same in all.
        """
        ...
