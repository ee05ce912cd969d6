"""One step of the training in a graph, some steps in one call of it, and the loop around them."""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from diptych.data import Data
from diptych.data.batches import Batches
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows.progress import Monitor, Progress, State, end_epoch
from diptych.workflows.tensorflow.adam import Adam
from diptych.workflows.tensorflow.model import Model

if TYPE_CHECKING:
    from diptych.workflows.tensorflow.workflow import Workflow

STEPS_A_CALL = 20
"""Training steps between two looks at the clock, the progress bar and Ctrl-C."""


class Trainer(Model):
    """The network with its optimiser, and the functions that take steps."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        super().__init__(network, recipe, seed)
        self.adam = Adam(recipe, self.trained)
        self.averages = {n: tf.Variable(v) for n, v in self.trained.items() if recipe.averaging}
        self.steps_functions: dict[tuple, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {}

    def train_step(
        self,
        frozen: frozenset[str],
        images: tf.Tensor,
        labels: tf.Tensor,
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        moving: dict[str, tf.Tensor] = {}
        loss, accuracy, gradients = self.gradients(images, labels, step, moving, frozen)
        self.adam.apply(self.trained, gradients, rate, step)
        decay = tf.where(step == 0, 0.0, self.recipe.averaging)
        for name, average in self.averages.items():
            kept = 0.0 if name in frozen else decay
            average.assign(average * kept + self.trained[name] * (1 - kept))
        for name, average in moving.items():
            self.variables[name].assign(average)
        return loss, accuracy

    def train_steps(
        self,
        frozen: frozenset[str],
        images: tf.Tensor,
        labels: tf.Tensor,
        rates: tf.Tensor,
        first: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Some steps in one graph: images (steps, batch, …), labels (steps, batch), rates (steps,).

        The weights whose names are ``frozen`` stay as they are.

        Returns:
            Loss and accuracy of each step, float32 (steps,).
        """
        steps = tf.shape(images)[0]
        losses, accuracies = (tf.TensorArray(tf.float32, steps) for _ in range(2))
        for i in tf.range(steps):
            batch = images[i], labels[i], rates[i], first + i
            if self.parallel:
                loss, accuracy = self.parallel.run(partial(self.train_step, frozen), *batch)
            else:
                loss, accuracy = self.train_step(frozen, *batch)
            losses, accuracies = losses.write(i, loss), accuracies.write(i, accuracy)
        return losses.stack(), accuracies.stack()

    def run_steps(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rates: np.ndarray,
        first: np.int32,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`train_steps` in a graph for images of that height and width and what is frozen.

        One graph for any number of images: several would round differently, and which of them a
        step meets would depend on where a training was resumed.
        """
        if self.parallel:
            images, labels = self.parallel.share(images, labels)
        size = images.shape[2:]
        if (size, frozen) not in self.steps_functions:
            self.steps_functions[size, frozen] = tf.function(
                partial(self.train_steps, frozen),
                input_signature=[
                    tf.TensorSpec([None, None, *size], tf.uint8),
                    tf.TensorSpec([None, None], tf.int64),
                    tf.TensorSpec([None], tf.float32),
                    tf.TensorSpec([], tf.int32),
                ],
            )
        return self.steps_functions[size, frozen](images, labels, rates, first)


def fit(
    workflow: "Workflow", data: Data, monitor: Monitor, progress: Progress, state: State | None
) -> None:
    """Trains as `protocol.Workflow.fit` says."""
    batches = Batches(data.train, workflow.recipe, workflow.seed)
    workflow.best = workflow.restore(state) if state else {}
    workflow.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step
    while not progress.finished:
        for chunk in batches.chunks(progress.epoch, progress.step, STEPS_A_CALL):
            frozen = workflow.network.frozen_weights(chunk.frozen)
            first = np.int32(chunk.step)
            measured = workflow.run_steps(*chunk.arrays, chunk.rates, first, frozen)
            losses, accuracies = (values.numpy() for values in measured)
            workflow.steps_taken += chunk.steps
            progress.add(chunk, losses, accuracies)
            if workflow.agreed(monitor.advanced(progress, workflow.state)):
                return
        if workflow.agreed(end_epoch(workflow, data.validation, monitor, progress)):
            return
