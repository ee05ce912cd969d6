"""One step with optax, some steps in one call, and the loop around them."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from diptych.data import Data
from diptych.data.augmentation import warps
from diptych.data.batches import Batches, Chunk
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows.jax.layers import Params
from diptych.workflows.jax.model import gradients_of
from diptych.workflows.progress import Monitor, Progress, State, end_epoch

if TYPE_CHECKING:
    from diptych.workflows.jax.workflow import Workflow

STEPS_A_CALL = 20
"""Training steps between two looks at the clock, the progress bar and Ctrl-C."""
ON_CPU = jax.default_backend() == "cpu"
"""On a GPU or a TPU an epoch is one call, and the images stay there."""
BYTES_A_CALL = 2**30
"""If there are no more bytes of images than that; else so many at a time are sent there."""


class Training(NamedTuple):
    """All that a step of training reads and writes."""

    trained: Params
    moving: Params
    """Batch normalisation's averages."""
    adam: optax.OptState
    averages: Params
    """Of the trained weights; empty if the recipe has none."""
    step: Array
    """Steps taken."""


def adam(recipe: Recipe, rate: Any, step: Array | int) -> optax.GradientTransformation:
    """optax's Adam for one step; ``step`` counts from 0.

    The recipe's epsilon is TensorFlow's "epsilon hat", which is added before the bias correction
    of the second moment. optax adds its epsilon after that.
    """
    correction = jnp.sqrt(1 - recipe.beta_2 ** (step + 1))
    return optax.adam(rate, recipe.beta_1, recipe.beta_2, recipe.epsilon / correction)


@partial(jax.jit, static_argnums=(1, 2, 3), static_argnames=("padded",))
def train_step(
    now: Training,
    network: Network,
    recipe: Recipe,
    frozen: frozenset[str],
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    rate: Array | np.ndarray,
    key: Array,
    padded: bool = False,
) -> tuple[Training, tuple[Array, Array]]:
    """The state after one step on one batch, and the batch's loss and accuracy before it.

    Weights named in ``frozen`` are not changed. If the batch is padded, rows with a negative label
    do not count.
    """
    here = jax.random.fold_in(key, now.step)
    still = {name: now.trained[name] for name in sorted(frozen)}
    live = {name: value for name, value in now.trained.items() if name not in frozen}
    (loss, (accuracy, moving)), gradients = gradients_of(
        live, now.moving | still, network, recipe.precision, images, labels, here, padded=padded
    )
    gradients |= jax.tree.map(jnp.zeros_like, still)  # optax needs one for every moment.
    updates, state = adam(recipe, rate, now.step).update(gradients, now.adam)
    updated: Any = optax.apply_updates(now.trained, updates)
    trained = updated | still
    averages: Any = now.averages
    if recipe.averaging:
        share = jnp.where(now.step == 0, 1.0, 1 - recipe.averaging)
        averaged: Any = optax.incremental_update(trained, averages, share)
        averages = averaged | still
    return Training(trained, moving, state, averages, now.step + 1), (loss, accuracy)


@partial(jax.jit, static_argnums=(1, 2, 3))
def train_steps(
    now: Training,
    network: Network,
    recipe: Recipe,
    frozen: frozenset[str],
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    rates: Array | np.ndarray,
    key: Array,
) -> tuple[Training, tuple[Array, Array]]:
    """One step after the other in one call; images, labels and rates have an axis of steps before
    the others."""

    def step(now: Training, batch: Any) -> tuple[Training, tuple[Array, Array]]:
        return train_step(now, network, recipe, frozen, *batch, key)

    return lax.scan(step, now, (images, labels, rates))


@partial(jax.jit, static_argnums=(3, 4))
def gathered(
    images: Array, order: Array, offsets: Array, reach: int, window: tuple[int, ...]
) -> Array:
    """`Batches.stacked` on the device that holds the images: chosen, shifted and cropped there.

    Args:
        images: uint8 (n, height, width, channels).
        order: which of them, (steps, batch).
        offsets: pixels down and right, (steps, batch, 2).
        reach: the largest offset there can be.
        window: first and last row and column (exclusive) that cropping leaves.
    """
    top, bottom, left, right = window
    padded = jnp.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    down, across = jnp.moveaxis(offsets.astype(jnp.int32), -1, 0)
    rows = jnp.arange(top, bottom) + reach - down[..., None]
    columns = jnp.arange(left, right) + reach - across[..., None]
    return padded[order[..., None, None], rows[..., None], columns[..., None, :]]


def images_on_device(resident: Array, chunk: Chunk) -> Array:
    """A chunk's images, gathered on the device."""
    rows, columns = chunk.batches.window(chunk.epoch, chunk.first)
    window = (rows.start, rows.stop, columns.start, columns.stop)
    reach = chunk.batches.recipe.shift
    return gathered(resident, chunk.order, chunk.offsets, reach, window)


def fit(
    workflow: "Workflow", data: Data, monitor: Monitor, progress: Progress, state: State | None
) -> None:
    """Trains as `protocol.Workflow.fit` says."""
    recipe, pixels = workflow.recipe, data.train.images
    batches = Batches(data.train, recipe, workflow.seed)
    most, resident = STEPS_A_CALL, None
    if not ON_CPU:
        most = max(1, BYTES_A_CALL // (recipe.batch_size * pixels[:1].nbytes))
        if pixels.nbytes <= BYTES_A_CALL and not warps(recipe):
            most, resident = batches.steps_per_epoch, jax.device_put(pixels)
    if state:
        workflow.restore(state)
    while not progress.finished:
        for chunk in batches.chunks(progress.epoch, progress.step, most):
            if resident is not None:
                images, labels = images_on_device(resident, chunk), chunk.labels
            else:
                images, labels = chunk.arrays
            frozen = workflow.network.frozen_weights(chunk.frozen)
            losses, accuracies = workflow.take(images, labels, chunk.rates, frozen)
            progress.add(chunk, losses, accuracies)
            if workflow.agreed(monitor.advanced(progress, workflow.state)):
                return
        if workflow.agreed(end_epoch(workflow, data.validation, monitor, progress)):
            return
