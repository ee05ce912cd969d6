"""The protocol between an audit and one side, whatever framework it is in.

Each framework has a module with a class ``Adapter`` that follows the protocol below. It lives in
the side's own process. An adapter judges nothing: it shows what its framework does, as arrays and
plain data in the layout of `diptych.auditing.graph`, and stages outside compare.

A method leaves the side as it was: after each call the parameters are those that were loaded last
and the optimiser has taken no step.

Any method may raise NotImplementedError with a reason in one line where a side cannot do what is
asked. The audit then names what it did not compare.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

import numpy as np

from diptych.auditing.gradients import Gradients, Keep
from diptych.auditing.graph import Arrays, Graph


class FollowedPartly(NotImplementedError):
    """The learning rates were followed for fewer steps than asked; the message has the reason."""

    def __init__(self, changes: list[tuple[int, list[float]]], steps: int, reason: str) -> None:
        """Takes what `Adapter.rates` returns for the first ``steps`` steps, and the reason."""
        super().__init__(reason)
        self.changes, self.steps = changes, steps


class Training(Protocol):
    """The part of a side that trains."""

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The whole training loss for given outputs of the last node, penalties on the present
        parameters included."""
        ...

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """The training loss and its gradients in training mode, but with dropout off.

        A parameter that gets no gradient (frozen, detached, not trained) is not in the result.
        """
        ...

    def drawn_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """As `loss_and_gradients`, but with dropout and noise on, as the side trains. An adapter
        that cannot do it has none."""
        ...

    def own_code(self) -> dict[str, bool]:
        """Tells if graphs may hold code of the user's, which then runs unseen, in ``steps`` and in
        ``updates``. An adapter that cannot tell has none.
        """
        ...

    def seed(self, number: int) -> None:
        """Has the random numbers that the side's own code draws begin anew, from this seed. Two
        sides with the same code then draw the same ones. An adapter that cannot do it has none.
        """
        ...

    def draw_anew(self, number: int) -> None:
        """As `seed`, for one of many draws. Draws of consecutive numbers are independent; the first
        of them begins anew, and the others need not. An adapter without it uses `seed`.
        """
        ...

    def updates(self, gradients: Iterable[Gradients], keep: Keep = ...) -> Iterable[Arrays]:
        """Takes the steps of a fresh optimiser on the given gradients, and gives what ``keep``
        takes of the parameters after each: all of them where nothing is said.

        Everything that training does between a gradient and a parameter is in it: clipping, decay,
        schedule, constraints. A parameter that is not trained is as it was.

        Gradients may be given as a function of the parameters at their step.

        Each step may be made only when it is asked for, so that thousands of them take no memory;
        the first begins with the parameters at the time of the call.
        """
        ...

    def steps(
        self, batches: Iterable[tuple[np.ndarray, np.ndarray]], keep: Keep = ...
    ) -> tuple[list[float], list[Arrays]]:
        """Real training steps of the side with a fresh optimiser, one a batch, dropout off.

        Returns:
            The loss before each step, and what is kept of the parameters after each step.
        """
        ...

    def steps_then_predict(
        self,
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        keep: Keep,
        x: np.ndarray,
        averages: Collection[str],
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        """As `steps`; then the trained parameters and these moving averages are put back, and the
        side predicts: whatever else training has changed, such as a counter, may count in it. An
        adapter that cannot do it has none.

        Returns:
            The two of `steps`, and the outputs for ``x`` (n, …).
        """
        ...

    def later_outputs(
        self,
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        x: np.ndarray,
        targets: np.ndarray,
        seeds: Iterable[int],
    ) -> np.ndarray:
        """The network's outputs in the training steps that follow others, with everything on.

        Real training steps are taken on the batches. Then the parameters are put back, while
        counters keep their values, and the network's output is that in further steps on ``x``, one
        for each seed of the random numbers. An adapter that cannot do it has none.

        Returns:
            (seeds, n, …) in the layout of the graph's last node.
        """
        ...

    def optimiser(self) -> dict[str, Any]:
        """The settings that the optimiser reports, which are where a search for its behaviour
        starts.

        ``kind`` (``sgd``, ``adam``, ``adamw``, ``rmsprop``, …) and any of ``learning_rate``,
        ``beta_1``, ``beta_2``, ``epsilon``, ``momentum``, ``nesterov``, ``weight_decay``,
        ``clip_norm``, ``clip_value``, ``clip_global_norm``; empty if nothing is known.
        """
        ...


class Adapter(Training, Protocol):
    """One side of an audit."""

    framework: str
    """Such as ``Keras 3.15.1 on TensorFlow 2.21.0``."""
    trains: bool
    """True if it has a loss and an optimiser; where not, only the methods up to `prepare` work."""
    prepares: bool
    """True if the user defines the preparation of raw data; otherwise `prepare` has a default."""
    targets: str
    """The targets that its loss takes: ``classes`` (integers (n,)), ``one_hot`` (n, classes),
    ``binary`` (zeros and ones, (n, 1)), ``values`` (numbers, (n, *output)) or ``own`` (only the
    side's own data; none can be generated). Classes are (n, …) for outputs (n, …, classes)."""

    data_told: dict[str, Any]
    """Statistics of the user's whole data; an adapter may lack it. See
    `diptych.auditing.frameworks.defaults.told_of`."""
    whole: list[tuple[int, int]]
    """The columns, from and to below, that hold integers if several inputs are packed in one; an
    adapter may lack it. See `diptych.auditing.frameworks.packing`."""
    packed_inputs: list[tuple[int, ...]]
    """The shapes of several inputs that are packed in one, without the batch; an adapter may lack
    it."""
    packed_targets: list[tuple[int, ...]]
    """The same for targets."""
    loss_words: str
    """The loss as its user made it, such as ``HuberLoss(delta=10)``; an adapter may lack it."""

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
        """The graph of the network in training, with dropout and batch normalisation."""
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
        """The side's preparation of raw images, uint8 (n, height, width, channels), and labels
        (n,).

        Returns:
            The input in the graph's layout, and the targets as the loss takes them.
        """
        ...

    def initial(self, draws: int) -> list[Arrays]:
        """The parameters of fresh builds of the model, each with another seed where the user's
        code leaves the seed open."""
        ...

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        """The batches of some epochs over ``count`` examples.

        The examples are constant: every number of example i's input is i, and so is its target.

        Returns:
            For each epoch, for each batch, inputs and targets; None where the side does not say
            how it makes batches.
        """
        ...

    def batches_of(
        self, x: np.ndarray, y: np.ndarray, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        """The batches of some epochs over the given examples.

        Args:
            x: inputs in the graph's layout (n, …, channels).
            y: targets as `prepare` gives them, (n,) or (n, …).
            epochs: how many epochs, one after the other.

        Returns:
            As `batches`.
        """
        ...

    # Whole functions, and the same side in float64.

    def twin(self) -> "Adapter":
        """The same side in float64.

        The user's function is called again with float64 as the framework's default, and whatever it
        still makes in float32 is converted. Floating-point inputs and targets arrive in float64;
        integer ones stay integers. All methods of the twin work and give float64, and the
        framework's default is float64 while they run and as before when they return.

        The twin begins with the parameters that this side has now. Afterwards the two are apart.

        Raises:
            NotImplementedError: the user's code cannot run in float64, or rounds to fewer bits by
                itself. The reason names what does it, and the line where that is known.
        """
        ...

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """The network's output, run as its user runs it: compiled if it is compiled, with nothing
        recorded and nothing replaced.

        In training the framework draws its own random numbers. They differ from run to run and
        from call to call, and are the same for the same calls on a fresh side. Moving averages are
        put back after each run.

        Args:
            x: in the graph's layout (n, …, channels).
            training: as for `record`.
            runs: how often the network is run on all of ``x``.

        Returns:
            (runs, n, …) in the layout of the graph's last node.
        """
        ...

    def horizon(self) -> dict[str, Any]:
        """The length of training that the side defines.

        Returns:
            ``steps``: the number of steps, or None where the side does not say; ``source``: which
            of its words says so, such as "`steps` in extras" or "CosineAnnealingLR's T_max of
            10000 (train.py:12)", empty where ``steps`` is None.
        """
        ...

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        """The learning rates with which the optimiser steps, reached by moving counters.

        Nothing is computed for it: 100,000 steps take a few seconds.

        Args:
            steps: how many steps to follow.

        Returns:
            The step and the rates in it, one per parameter group, for step 0 and for each later
            step below ``steps`` in which any rate changes. A step in which the optimiser does not
            move anything (accumulation) has no rates. The list ends early where the side refuses
            further steps (a schedule with a length of its own).

        Raises:
            FollowedPartly: the rates cannot be followed that far without computing.
            NotImplementedError: they cannot be followed at all.
        """
        ...

    def settings(self) -> dict[str, str]:
        """Everything the user handed in that training depends on and no other method shows.

        Returns:
            By name, in words that can be compared, such as
            ``{"schedule": "ReduceLROnPlateau(factor=0.1, patience=10): follows a metric"}``.
        """
        ...
