"""The reference: the network in NumPy, in float64, to be read from top to bottom.

What a network computes, how its gradients follow by the chain rule, and what Adam does with them,
in as little code as says it. Nothing here is made for speed. Tests hold it to finite differences,
and the other workflows to it.

Every operation below takes its input and gives its output and its own reverse: a function from the
loss's gradient with respect to the output to those with respect to the input and to the weights.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import ndtr

from diptych.data import Data, Split
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
    Layer,
    MaxPool,
    Network,
    Shape,
    Weights,
    margins,
)
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows import Monitor, Progress, State

Array = np.ndarray
"""Always float64; images are (n, height, width, channels)."""
Reverse = Callable[[Array], tuple[Array, Weights]]
Operation = Callable[[Array], tuple[Array, Reverse]]

IMAGES_A_CALL = 100
"""Images at once at inference; more only need more memory."""


def windows(layer: Conv | MaxPool | AveragePool, x: Array, fill: float = 0.0) -> Array:
    """What each position of the layer's window sees, the padding filled with ``fill``.

    Returns:
        (n, height, width, channels, window height, window width), a view.
    """
    padded = np.pad(x, ((0, 0), *layer.pads(x.shape[1:]), (0, 0)), constant_values=fill)
    every = sliding_window_view(padded, layer.window, axis=(1, 2))
    return every[:, :: layer.steps[0], :: layer.steps[1]]


def from_windows(layer: Conv | MaxPool | AveragePool, seen: Array, shape: Shape) -> Array:
    """The reverse of `windows`: adds up, for each pixel, what each window has for it."""
    (top, bottom), (left, right) = layer.pads(shape[1:])
    count, height, width, channels = shape
    padded = np.zeros((count, top + height + bottom, left + width + right, channels))
    down, across = layer.steps
    for row, column in np.ndindex(*layer.window):
        rows = slice(row, row + down * seen.shape[1], down)
        columns = slice(column, column + across * seen.shape[2], across)
        padded[:, rows, columns] += seen[..., row, column]
    return padded[:, top : top + height, left : left + width]


def convolve(layer: Conv, weights: Weights, x: Array) -> tuple[Array, Reverse]:
    kernel, seen = weights["kernel"], windows(layer, x)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_windows = np.tensordot(gradient, kernel, axes=(3, 3))
        to_kernel = np.tensordot(seen, gradient, axes=((0, 1, 2), (0, 1, 2)))
        to_weights = {"kernel": np.moveaxis(to_kernel, 0, 2), "bias": gradient.sum((0, 1, 2))}
        return from_windows(layer, np.moveaxis(to_windows, 5, 3), x.shape), to_weights

    return np.tensordot(seen, kernel, axes=((4, 5, 3), (0, 1, 2))) + weights["bias"], reverse


def dense(weights: Weights, x: Array) -> tuple[Array, Reverse]:
    kernel = weights["kernel"]

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        return gradient @ kernel.T, {"kernel": x.T @ gradient, "bias": gradient.sum(0)}

    return x @ kernel + weights["bias"], reverse


def max_pool(layer: MaxPool, x: Array) -> tuple[Array, Reverse]:
    """On a tie the whole gradient goes to the first maximum, row by row, as in TensorFlow."""
    seen = windows(layer, x, fill=-np.inf)
    flat = seen.reshape(*seen.shape[:4], -1)
    first = flat.argmax(axis=-1, keepdims=True)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_flat = np.zeros(flat.shape)
        np.put_along_axis(to_flat, first, gradient[..., None], axis=-1)
        return from_windows(layer, to_flat.reshape(seen.shape), x.shape), {}

    return np.take_along_axis(flat, first, axis=-1)[..., 0], reverse


def average_pool(layer: AveragePool, x: Array) -> tuple[Array, Reverse]:
    pixels = windows(layer, np.ones((1, *x.shape[1:])))  # The padding is zero: it does not count.
    share = pixels / pixels.sum(axis=(4, 5), keepdims=True)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        return from_windows(layer, gradient[..., None, None] * share, x.shape), {}

    return (windows(layer, x) * share).sum(axis=(4, 5)), reverse


def drop(rate: float, chance: np.random.Generator, x: Array) -> tuple[Array, Reverse]:
    """Inverted dropout (Srivastava et al., 2014): what is kept is scaled up, in training alone."""
    scale = (chance.random(x.shape) >= rate) / (1 - rate)
    return x * scale, lambda gradient: (gradient * scale, {})


def flatten(expected: Shape, x: Array) -> tuple[Array, Reverse]:
    """Around the features of a cropped image come zeros, up to the shape that is expected."""
    around = [(0, 0), *margins(expected, x.shape[1:])]
    padded = np.pad(x, around)

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        inner = tuple(
            slice(before, before + size) for (before, _), size in zip(around, x.shape, strict=True)
        )
        return gradient.reshape(padded.shape)[inner], {}

    return padded.reshape(len(x), -1), reverse


def batch_norm(
    layer: BatchNorm, weights: Weights, training: bool, x: Array
) -> tuple[Array, Reverse]:
    """Ioffe & Szegedy (2015); in training, mean and variance depend on x and are derived too."""
    gamma, axes = weights["gamma"], tuple(range(x.ndim - 1))
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    if training:
        mean, variance = x.mean(axes), x.var(axes)
    deviation = np.sqrt(variance + layer.epsilon)
    normal = (x - mean) / deviation

    def reverse(gradient: Array) -> tuple[Array, Weights]:
        to_x = gamma / deviation * gradient
        if training:
            along = (gradient * normal).mean(axes)
            to_x = gamma / deviation * (gradient - gradient.mean(axes) - normal * along)
        return to_x, {"gamma": (gradient * normal).sum(axes), "beta": gradient.sum(axes)}

    return gamma * normal + weights["beta"], reverse


def activate(layer: Conv | Dense | Activate, x: Array) -> tuple[Array, Reverse]:
    match layer.activation:
        case "relu":
            y, slope = np.maximum(x, 0), np.where(x > 0, 1.0, 0.0)
        case "leaky_relu":
            slope = np.where(x > 0, 1.0, layer.slope or 0.0)
            y = x * slope
        case "elu":
            y = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
            slope = np.where(x > 0, 1.0, y + 1)
        case "gelu":  # x times the normal distribution function (Hendrycks & Gimpel, 2016)
            y = x * ndtr(x)
            slope = ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        case "tanh":
            y = np.tanh(x)
            slope = 1 - y**2
        case "linear":
            y, slope = x, np.ones_like(x)
    return y, lambda gradient: (gradient * slope, {})


def cross_entropy(logits: Array, labels: np.ndarray) -> tuple[float, Array]:
    """Softmax cross-entropy, the mean over the batch.

    Args:
        logits: (n, classes).
        labels: integers (n,).

    Returns:
        The loss and its gradient with respect to the logits (n, classes).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)  # So that no exponential overflows.
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    truth = np.eye(logits.shape[1])[labels]
    return -(log_shares * truth).sum(1).mean(), (np.exp(log_shares) - truth) / len(labels)


class Adam:
    """Adam (Kingma & Ba, 2015) as TensorFlow and Keras have it, with "epsilon hat"."""

    def __init__(self, recipe: Recipe, values: Weights) -> None:
        self.beta_1, self.beta_2, self.epsilon = recipe.beta_1, recipe.beta_2, recipe.epsilon
        self.m = {name: np.zeros_like(value) for name, value in values.items()}
        self.v = {name: np.zeros_like(value) for name, value in values.items()}

    def apply(self, values: Weights, gradients: Weights, rate: float, t: int) -> None:
        """One update of the values, in place; ``t`` counts from 1."""
        rate = rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        for name, gradient in gradients.items():
            m, v = self.m[name], self.v[name]
            m += (1 - self.beta_1) * (gradient - m)
            v += (1 - self.beta_2) * (gradient**2 - v)
            values[name] -= rate * m / (np.sqrt(v) + self.epsilon)


class Workflow:
    """A network as float64 arrays. The recipe's precision does not matter to it.

    Dropout is the network's own: who wants the recipe's gives
    ``network.with_dropout_scaled(recipe.dropout_scale)``.
    """

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.shapes = {layer.name: before for layer, before, _ in network.steps()}
        self.values: Weights = {}
        self.load(network.initial_weights(seed))
        trained = {k: v for k, v in self.values.items() if k.split("/")[1] not in NOT_TRAINED}
        self.adam = Adam(recipe, trained)
        self.averages = {k: v.copy() for k, v in trained.items() if recipe.averaging}
        self.loss = cross_entropy
        self.best: Weights = {}
        self.steps_taken = 0

    def operations(self, layer: Layer, training: bool) -> list[Operation]:
        """What the layer does, one after the other."""
        prefix = layer.name + "/"
        here = [name for name in self.values if name.startswith(prefix)]
        weights = {name.removeprefix(prefix): self.values[name] for name in here}
        match layer:
            case Conv():
                return [partial(convolve, layer, weights), partial(activate, layer)]
            case Dense():
                return [partial(dense, weights), partial(activate, layer)]
            case Activate():
                return [partial(activate, layer)]
            case MaxPool():
                return [partial(max_pool, layer)]
            case AveragePool():
                return [partial(average_pool, layer)]
            case BatchNorm():
                return [partial(batch_norm, layer, weights, training)]
            case Flatten():
                return [partial(flatten, self.shapes[layer.name])]
            case Dropout():
                chance = generator(self.seed, f"dropout/{layer.name}", self.steps_taken)
                return [partial(drop, layer.rate, chance)] if training else []

    def run(self, images: np.ndarray, training: bool) -> tuple[list[Array], list]:
        """Input and output of each layer in order, and each operation's layer and reverse."""
        passed, reverses = [images * (1 / 255)], []
        for layer in self.network.layers:
            x = passed[-1]
            for operation in self.operations(layer, training):
                x, reverse = operation(x)
                reverses.append((layer.name, reverse))
            passed.append(x)
        return passed, reverses

    def forward(self, images: np.ndarray, training: bool = False) -> dict[str, Array]:
        """uint8 images (n, height, width, channels) to each layer's output (n, …) by its name."""
        outputs = self.run(images, training)[0][1:]
        return {layer.name: x for layer, x in zip(self.network.layers, outputs, strict=True)}

    def backward(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[float, Weights, list[Array]]:
        """Mean loss, its gradients in float64, and input and outputs of each layer, in training.

        The gradients are of all trained weights but the frozen.
        """
        passed, reverses = self.run(images, training=True)
        loss, gradient = self.loss(passed[-1], labels)
        gradients: Weights = {}
        for layer, reverse in reversed(reverses):
            gradient, to_weights = reverse(gradient)
            gradients |= {f"{layer}/{name}": value for name, value in to_weights.items()}
        live = (name for name in self.adam.m if name not in frozen)
        return float(loss), {name: gradients[name] for name in live}, passed

    def train_step(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rate: float,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[float, float]:
        """One step of Adam on what is not frozen; returns loss and accuracy before it."""
        loss, gradients, passed = self.backward(images, labels, frozen)
        self.steps_taken += 1
        self.adam.apply(self.values, gradients, float(rate), self.steps_taken)
        kept = self.recipe.averaging if self.steps_taken > 1 else 0
        for name, average in self.averages.items():
            if name in frozen:
                average[...] = self.values[name]
            else:
                average += (1 - kept) * (self.values[name] - average)
        for layer, x in zip(self.network.layers, passed, strict=False):
            if isinstance(layer, BatchNorm):
                axes = tuple(range(x.ndim - 1))
                for name, now in (("moving_mean", x.mean(axes)), ("moving_variance", x.var(axes))):
                    moving = self.values[f"{layer.name}/{name}"]
                    moving += (1 - layer.momentum) * (now - moving)
        return loss, float(np.mean(passed[-1].argmax(axis=1) == labels))

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        batches = Batches(data.train, self.recipe, self.seed)
        rates = self.recipe.learning_rates(batches.steps)
        self.best = self.restore(state) if state else {}
        self.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step

        while not progress.finished:
            while progress.step < batches.steps_per_epoch:
                start = time.perf_counter()
                images, labels = batches.batch(progress.epoch, progress.step)
                frozen = self.network.frozen_weights(batches.frozen(progress.epoch, progress.step))
                progress.loss, progress.accuracy = self.train_step(
                    images, labels, rates[self.steps_taken], frozen
                )
                progress.step += 1
                progress.images += len(labels)
                progress.loss_sum += progress.loss * len(labels)
                progress.correct += progress.accuracy * len(labels)
                progress.seconds += time.perf_counter() - start
                if monitor.advanced(progress, self.state):
                    return

            start = time.perf_counter()
            newest = self.values
            self.load(newest | self.averages)
            loss, accuracy = self.evaluate(data.validation)
            seconds = time.perf_counter() - start
            if progress.end_epoch(self.recipe, loss, accuracy, seconds):
                self.best = {name: value.copy() for name, value in self.values.items()}
            if not progress.finished:
                self.load(newest)
            elif self.best:
                self.load(self.best)
            if monitor.epoch_ended(progress, self.state):
                return

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, at inference."""
        logits, labels = self.logits_in_float64(split.images), split.labels
        return float(cross_entropy(logits, labels)[0]), float(np.mean(logits.argmax(1) == labels))

    def state(self) -> State:
        """All arrays that `restore` needs, in float64."""
        groups = {"weights": self.values, "m": self.adam.m, "v": self.adam.v}
        groups |= {"average": self.averages, "best": self.best}
        return {f"{group}/{k}": v.copy() for group, part in groups.items() for k, v in part.items()}

    def restore(self, state: State) -> Weights:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""
        groups: dict[str, Weights] = {
            group: {} for group in ("weights", "m", "v", "average", "best")
        }
        for key, value in state.items():
            group, name = key.split("/", 1)
            groups[group][name] = value.astype(np.float64)
        self.load(groups["weights"])
        self.adam.m, self.adam.v, self.averages = groups["m"], groups["v"], groups["average"]
        return groups["best"]

    def weights(self) -> Weights:
        return {name: value.astype(np.float32) for name, value in self.values.items()}

    def load(self, weights: Weights) -> None:
        """Takes float32 or float64, and keeps float64."""
        self.network.check_weights(weights)
        self.values = {k: weights[k].astype(np.float64) for k in self.network.weight_shapes()}

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.logits_in_float64(images).astype(np.float32)

    def logits_in_float64(self, images: np.ndarray) -> Array:
        parts = range(0, len(images), IMAGES_A_CALL)
        logits = [self.run(images[i : i + IMAGES_A_CALL], training=False)[0][-1] for i in parts]
        return np.concatenate([np.empty((0, self.network.classes)), *logits])

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        loss, gradients, _ = self.backward(images, labels)
        return loss, {name: gradient.astype(np.float32) for name, gradient in gradients.items()}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        return self.train_step(images, labels, float(np.float32(self.recipe.learning_rate)))[0]

    def summary(self) -> dict[str, tuple[Shape, int]]:
        outputs = self.forward(np.zeros((1, *self.network.input_shape), np.uint8))
        parameters = dict.fromkeys(outputs, 0)
        for name, value in self.values.items():
            parameters[name.split("/")[0]] += value.size
        return {name: (x.shape[1:], parameters[name]) for name, x in outputs.items()}
