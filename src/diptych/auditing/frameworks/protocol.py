"""What an audit asks of one side, whatever framework it is in.

Each adapter is a module with a class ``Adapter`` that is the protocol below. It lives in the side's
own process. Nothing in it judges: it shows what its framework does, as arrays and plain data in the
layout of `diptych.auditing.graph`, and stages outside compare.

A side must be left as it was found: after each call the parameters are those that were loaded last
and the optimiser has taken no step.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from diptych.auditing.graph import Arrays, Graph


class Adapter(Protocol):
    """One side of an audit."""

    framework: str
    """Such as ``Keras 3.15.1 on TensorFlow 2.21.0``."""
    trains: bool
    """Whether it has a loss and an optimiser; where not, only the methods up to `prepare` work."""
    prepares: bool
    """Whether the user says what is made of raw data; where not, `prepare` has a default."""
    targets: str
    """What its loss takes: ``classes`` (integers (n,)), ``one_hot`` (n, classes), ``binary`` (zeros
    and ones, (n, 1)) or ``values`` (numbers, (n, *output))."""

    def __init__(self, build: Callable[[int], Any]) -> None:
        """Builds the side.

        Args:
            build: gives what the user's function returns. It is called again for every fresh
                build; the argument is a seed, for those builds of ours that take one.

        Raises:
            InputError: it is not what this framework's users return.
        """
        ...

    def graph(self) -> Graph:
        """What the network does at training, with dropout and batch normalisation in it."""
        ...

    def parameters(self) -> Arrays:
        """A copy of all parameters and moving averages, by the names that the graph has for them.

        Parameters that no node of the graph has are there too.
        """
        ...

    def load(self, parameters: Arrays) -> None:
        """Puts the given parameters in; those that are not given stay."""
        ...

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """Runs the network and keeps the output of every node by its name.

        Args:
            x: in the layout of the graph's input (n, …, channels), as `prepare` gives it.
            training: as the side itself trains (dropout on, in whatever mode its user's training
                has it), or as it predicts. Moving averages change in training; they are in the
                result as ``parameter:NAME`` and are then put back.
        """
        ...

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        """The output of one node for other inputs, computed by the framework."""
        ...

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the side makes of raw images, uint8 (n, height, width, channels), and labels (n,).

        Returns:
            The input in the graph's layout, and the targets as the loss takes them.
        """
        ...

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The whole training loss for given outputs of the last node, penalties on the present
        parameters included."""
        ...

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """The training loss and its gradients in training mode, but with dropout off.

        A parameter that gets no gradient (frozen, detached, not trained) is not in the result.
        """
        ...

    def updates(self, gradients: list[Arrays]) -> list[Arrays]:
        """The parameters after each step of a fresh optimiser on the given gradients.

        Everything that training does between a gradient and a parameter is in it: clipping, decay,
        schedule, constraints. A parameter that is not trained is as it was.
        """
        ...

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[list[float], list[Arrays]]:
        """Real training steps of the side with a fresh optimiser, one a batch, dropout off.

        Returns:
            The loss before each step, and the parameters after each step.
        """
        ...

    def initial(self, draws: int) -> list[Arrays]:
        """The parameters of fresh builds of the model, each with another seed where the user's
        code leaves the seed open."""
        ...

    def optimiser(self) -> dict[str, Any]:
        """What the optimiser says of itself: where a search for its behaviour starts.

        ``kind`` (``sgd``, ``adam``, ``adamw``, ``rmsprop``, …) and any of ``learning_rate``,
        ``beta_1``, ``beta_2``, ``epsilon``, ``momentum``, ``nesterov``, ``weight_decay``,
        ``clip_norm``, ``clip_value``, ``clip_global_norm``; empty where nothing is known.
        """
        ...

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        """The batches of some epochs over ``count`` examples.

        The examples are constant: every number of example i's input is i, and so is its target.

        Returns:
            For each epoch, for each batch, inputs and targets; None where the side does not say
            how it makes batches.
        """
        ...
