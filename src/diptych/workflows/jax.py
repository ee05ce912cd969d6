"""The network in JAX: pure functions of a dictionary of weights, ``jit``, ``grad`` and optax.

The functions come first, each of what it is given alone; the class below them only holds the
arrays from call to call and does what has to be done outside of JAX.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from diptych.data import Data, Split
from diptych.data.augmentation import warps
from diptych.data.batches import Batches
from diptych.network import (
    NOT_TRAINED,
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    Shape,
    Weights,
    margins,
)
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows import Monitor, Progress, State

STEPS_A_CALL = 20
"""Training steps between two looks at the clock, the progress bar and Ctrl-C."""
IMAGES_A_CALL = 500
"""Images a forward pass at inference."""

ON_CPU = jax.default_backend() == "cpu"
"""On a GPU or a TPU an epoch is one call, and the images stay there."""
BYTES_A_CALL = 2**30
"""If there are no more bytes of images than that; else so many at a time are sent there."""

# By default JAX multiplies in less than float32 where the hardware is faster so.
jax.config.update("jax_default_matmul_precision", "highest")

Params = dict[str, Array]
"""Weights by their names, float32."""


def at_least_float32(dtype: Any) -> Any:
    """The type in which the sums of such numbers are made; that of float64 is itself."""
    return jnp.promote_types(dtype, jnp.float32)


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


# The network.


def activate(layer: Conv | Dense | Activate, x: Array) -> Array:
    match layer.activation:
        case "relu":
            return jax.nn.relu(x)
        case "leaky_relu":  # JAX' own has a slope of 1 at zero, all others have the layer's.
            return jnp.where(x > 0, x, x * (layer.slope or 0.0))
        case "elu":
            return jax.nn.elu(x)
        case "gelu":
            return jax.nn.gelu(x, approximate=False)
        case "tanh":
            return jnp.tanh(x)
    return x


def convolve(layer: Conv, x: Array, kernel: Array) -> Array:
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, layer.steps, layer.padding.upper(), dimension_numbers=order
    )


def max_pool(layer: MaxPool, x: Array) -> Array:
    window, steps = (1, *layer.window, 1), (1, *layer.steps, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, layer.padding.upper())


def average_pool(layer: AveragePool, x: Array) -> Array:
    """The padding does not count."""

    def total(values: Array) -> Array:
        window, steps = (1, *layer.window, 1), (1, *layer.steps, 1)
        return lax.reduce_window(values, 0.0, lax.add, window, steps, layer.padding.upper())

    return total(x) / total(jnp.ones_like(x[:1, :, :, :1]))


def drop(layer: Dropout, x: Array, key: Array) -> Array:
    """Zeroes each value with the layer's probability and scales the others up."""
    kept = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
    return jnp.where(kept, x / (1 - layer.rate), 0)


def batch_norm(layer: BatchNorm, x: Array, params: Params, training: bool) -> tuple[Array, Params]:
    """In float32 or more; also gives the new moving averages, which are the old ones at inference.

    The variance is that of the batch, divided by its size.
    """
    gamma, beta, *averages = (
        params[f"{layer.name}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    x32, (mean, variance) = x.astype(at_least_float32(x.dtype)), averages
    if training:
        axes, kept = tuple(range(x.ndim - 1)), layer.momentum
        mean, variance = x32.mean(axes), x32.var(axes)
        averages = [
            old * kept + new * (1 - kept)
            for old, new in zip(averages, (mean, variance), strict=True)
        ]
    x32 = (x32 - mean) * lax.rsqrt(variance + layer.epsilon) * gamma + beta
    names = (f"{layer.name}/moving_mean", f"{layer.name}/moving_variance")
    return x32.astype(x.dtype), dict(zip(names, averages, strict=True))


def forward(
    network: Network,
    dtype: str,
    params: Params,
    images: Array | np.ndarray,
    key: Array | None = None,
) -> tuple[dict[str, Array], Params]:
    """uint8 images (batch, height, width, channels) through all layers; with a key, in training.

    Returns:
        Each layer's output by its name, and batch normalisation's new averages.
    """
    wide = at_least_float32(dtype)
    x = (jnp.asarray(images, wide) * wide.type(1 / 255)).astype(dtype)
    outputs: dict[str, Array] = {}
    moving: Params = {}
    for number, (layer, before, _) in enumerate(network.steps()):
        match layer:
            case Conv():
                kernel, bias = read(params, layer, dtype)
                x = activate(layer, convolve(layer, x, kernel) + bias)
            case MaxPool():
                x = max_pool(layer, x)
            case AveragePool():
                x = average_pool(layer, x)
            case Dropout():
                if key is not None and layer.rate:
                    x = drop(layer, x, jax.random.fold_in(key, number))
            case Flatten():
                x = jnp.pad(x, [(0, 0), *margins(before, x.shape[1:])])  # for a cropped image
                x = x.reshape(len(x), -1)
            case Dense():
                kernel, bias = read(params, layer, dtype)
                x = activate(layer, x @ kernel + bias)
            case BatchNorm():
                x, new = batch_norm(layer, x, params, training=key is not None)
                moving |= new
            case Activate():
                x = activate(layer, x)
        outputs[layer.name] = x
    return outputs, moving


def read(params: Params, layer: Conv | Dense, dtype: str) -> tuple[Array, Array]:
    """The layer's kernel and bias, in the precision that they are computed with."""
    kernel, bias = (params[f"{layer.name}/{name}"].astype(dtype) for name in ("kernel", "bias"))
    return kernel, bias


@partial(jax.jit, static_argnums=(0, 1))
def predict(network: Network, dtype: str, params: Params, images: Array | np.ndarray) -> Array:
    """The logits at inference, float32 (batch, classes)."""
    outputs, _ = forward(network, dtype, params, images)
    return outputs[network.layers[-1].name].astype(jnp.float32)


# One step.


def loss_of(
    trained: Params,
    moving: Params,
    network: Network,
    dtype: str,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    key: Array,
) -> tuple[Array, tuple[Array, Params]]:
    """Mean loss of one batch in training; and its accuracy, and the new moving averages."""
    outputs, moving = forward(network, dtype, trained | moving, images, key)
    logits = outputs[network.layers[-1].name]
    logits = logits.astype(at_least_float32(logits.dtype))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (jnp.mean(logits.argmax(axis=1) == labels), moving)


@partial(jax.jit, static_argnums=(2, 3))
def gradients_of(
    trained: Params,
    moving: Params,
    network: Network,
    dtype: str,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    key: Array,
) -> tuple[tuple[Array, tuple[Array, Params]], Params]:
    """What `loss_of` gives, and the loss's gradients."""
    return jax.value_and_grad(loss_of, has_aux=True)(
        trained, moving, network, dtype, images, labels, key
    )


def adam(recipe: Recipe, rate: Any, step: Array | int) -> optax.GradientTransformation:
    """optax's Adam for one step; ``step`` counts from 0.

    The recipe's epsilon is that of TensorFlow, "epsilon hat", which is added before the second
    moment's bias is corrected. optax adds its own after that.
    """
    correction = jnp.sqrt(1 - recipe.beta_2 ** (step + 1))
    return optax.adam(rate, recipe.beta_1, recipe.beta_2, recipe.epsilon / correction)


@partial(jax.jit, static_argnums=(1, 2, 3))
def train_step(
    now: Training,
    network: Network,
    recipe: Recipe,
    frozen: frozenset[str],
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    rate: Array | np.ndarray,
    key: Array,
) -> tuple[Training, tuple[Array, Array]]:
    """The training after one step on one batch, and the batch's loss and accuracy before it.

    The weights whose names are ``frozen`` stay as they are.
    """
    here = jax.random.fold_in(key, now.step)
    still = {name: now.trained[name] for name in sorted(frozen)}
    live = {name: value for name, value in now.trained.items() if name not in frozen}
    (loss, (accuracy, moving)), gradients = gradients_of(
        live, now.moving | still, network, recipe.precision, images, labels, here
    )
    gradients |= jax.tree.map(jnp.zeros_like, still)  # optax wants one for every moment it has.
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


# The training.


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


class Workflow:
    """Holds the arrays of one network's training from call to call."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.key = jax.random.key(int(generator(seed, "dropout").integers(2**31)))
        self.best: Weights = {}
        trained, moving = split(network.initial_weights(seed))
        self.training = Training(
            trained,
            moving,
            adam(recipe, 0.0, 0).init(trained),
            trained if recipe.averaging else {},
            jnp.int32(0),
        )

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        batches = Batches(data.train, self.recipe, self.seed)
        rates = self.recipe.learning_rates(batches.steps)
        pixels = data.train.images
        most, resident = STEPS_A_CALL, None
        if not ON_CPU:
            most = max(1, BYTES_A_CALL // (self.recipe.batch_size * pixels[:1].nbytes))
            if pixels.nbytes <= BYTES_A_CALL and not warps(self.recipe):
                resident = jax.device_put(pixels)
        if state:
            self.restore(state)

        while not progress.finished:
            while progress.step < batches.steps_per_epoch:
                start = time.perf_counter()
                if resident is not None:
                    images, labels = self.stacked_on_device(resident, batches, progress)
                else:
                    images, labels = batches.stacked(progress.epoch, progress.step, most)
                steps, size = labels.shape
                done = progress.epoch * batches.steps_per_epoch + progress.step
                now = rates[done : done + steps]
                frozen = self.network.frozen_weights(batches.frozen(progress.epoch, progress.step))
                losses, accuracies = self.take(images, labels, now, frozen)

                progress.step += steps
                progress.images += steps * size
                progress.loss_sum += float(losses.sum()) * size
                progress.correct += float(accuracies.sum()) * size
                progress.loss, progress.accuracy = float(losses[-1]), float(accuracies[-1])
                progress.seconds += time.perf_counter() - start
                if monitor.advanced(progress, self.state):
                    return

            start = time.perf_counter()
            newest = self.training
            self.training = newest._replace(trained=newest.averages or newest.trained)
            loss, accuracy = self.evaluate(data.validation)
            seconds = time.perf_counter() - start
            if progress.end_epoch(self.recipe, loss, accuracy, seconds):
                self.best = self.weights()
            if not progress.finished:
                self.training = newest
            elif self.best:
                self.load(self.best)
            if monitor.epoch_ended(progress, self.state):
                return

    def stacked_on_device(
        self, resident: Array, batches: Batches, progress: Progress
    ) -> tuple[Array, np.ndarray]:
        """What is left of the epoch under way, or as much of it as is of one size."""
        first, size = progress.step, self.recipe.batch_size
        end = batches.end_of_alike(progress.epoch, first, batches.steps_per_epoch)
        here = slice(first * size, end * size)
        order, offsets = (part[here] for part in batches.plan(progress.epoch))
        labels = batches.split.labels[order].reshape(end - first, -1)
        rows, columns = batches.window(progress.epoch, first)
        window = (rows.start, rows.stop, columns.start, columns.stop)
        shape = labels.shape
        images = gathered(
            resident, order.reshape(shape), offsets.reshape(*shape, 2), self.recipe.shift, window
        )
        return images, labels

    def take(
        self,
        images: Array | np.ndarray,
        labels: np.ndarray,
        rates: np.ndarray,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Steps on stacked batches, with some weights frozen; loss and accuracy of each.

        On a CPU a Python loop that runs ahead of the arithmetic: inside of a ``lax.scan`` XLA
        computes the gradients of convolutions there more than a hundred times slower.
        """
        labels = labels.astype(np.int32)
        if not ON_CPU:
            self.training, measured = train_steps(
                self.training, self.network, self.recipe, frozen, images, labels, rates, self.key
            )
            losses, accuracies = jax.device_get(measured)
            return losses, accuracies
        measured = []
        for batch in zip(images, labels, rates, strict=True):
            self.training, here = train_step(
                self.training, self.network, self.recipe, frozen, *batch, self.key
            )
            measured.append(here)
        losses, accuracies = zip(*jax.device_get(measured), strict=True)
        return np.array(losses), np.array(accuracies)

    def state(self) -> State:
        """All arrays that `restore` needs."""
        leaves, _ = named_leaves(self.training)
        return {name: np.array(leaf) for name, leaf in leaves.items()} | {
            f"best/{name}": value for name, value in self.best.items()
        }

    def restore(self, state: State) -> None:
        """Puts a checkpoint's arrays back, and the best weights so far, if any."""
        leaves, tree = named_leaves(self.training)
        self.training = jax.tree.unflatten(tree, [jnp.array(state[name]) for name in leaves])
        best = {name for name in state if name.startswith("best/")}
        self.best = {name.removeprefix("best/"): state[name] for name in best}

    # Inference.

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.predict(images, "float32")

    def predict(self, images: np.ndarray, dtype: str) -> np.ndarray:
        params = self.training.trained | self.training.moving
        parts = [
            np.asarray(predict(self.network, dtype, params, images[i : i + IMAGES_A_CALL]))
            for i in range(0, len(images), IMAGES_A_CALL)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.classes), np.float32)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        logits = self.predict(split.images, self.recipe.precision)
        labels = split.labels.astype(np.int32)
        losses = optax.softmax_cross_entropy_with_integer_labels(jnp.array(logits), labels)
        return float(losses.mean()), float(np.mean(logits.argmax(axis=1) == labels))

    # What the other workflows can be held against.

    def summary(self) -> dict[str, tuple[Shape, int]]:
        params = self.training.trained | self.training.moving
        image = jnp.zeros((1, *self.network.input_shape), jnp.uint8)
        outputs, _ = jax.eval_shape(partial(forward, self.network, "float32"), params, image)
        parameters = dict.fromkeys(outputs, 0)
        for name, value in params.items():
            parameters[name.split("/")[0]] += value.size
        return {name: (x.shape[1:], parameters[name]) for name, x in outputs.items()}

    def weights(self) -> Weights:
        params = self.training.trained | self.training.moving
        return {name: np.array(params[name]) for name in self.network.weight_shapes()}

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        trained, moving = split(weights)
        self.training = self.training._replace(trained=trained, moving=moving)

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        now, key = self.training, jax.random.fold_in(self.key, self.training.step)
        (loss, _), gradients = gradients_of(
            now.trained,
            now.moving,
            self.network,
            self.recipe.precision,
            images,
            labels.astype(np.int32),
            key,
        )
        return float(loss), {name: np.array(gradients[name]) for name in now.trained}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        rate = np.array([self.recipe.learning_rate], np.float32)
        losses, _ = self.take(images[None], labels[None], rate)
        return float(losses[0])


def split(weights: Weights) -> tuple[Params, Params]:
    """Those that are trained, and the moving averages, as JAX' own arrays."""
    both: tuple[Params, Params] = {}, {}
    for name, value in weights.items():
        both[name.split("/")[1] in NOT_TRAINED][name] = jnp.array(value)
    return both


def named_leaves(training: Training) -> tuple[dict[str, Array], Any]:
    """Each array by where it is, such as ``trained/conv_1/kernel``, and the structure of it all."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(training)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}, tree
