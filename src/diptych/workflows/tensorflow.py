"""The network in low-level TensorFlow: variables, ``tf.nn``, a tape, its own Adam and loop.

No Keras. Everything that happens to the numbers is written out below, in the order in which it
happens: the layers, the loss, the optimiser, the training loop.
"""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

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


def activate(layer: Conv | Dense | Activate, x: tf.Tensor) -> tf.Tensor:
    match layer.activation:
        case "relu":
            return tf.nn.relu(x)
        case "leaky_relu":
            return tf.nn.leaky_relu(x, alpha=layer.slope)
        case "elu":
            return tf.nn.elu(x)
        case "gelu":
            return tf.nn.gelu(x, approximate=False)
        case "tanh":
            return tf.tanh(x)
    return x


def drop(x: tf.Tensor, rate: float, seed: list[tf.Tensor | int]) -> tf.Tensor:
    """Zeroes each value with that probability and scales the others up.

    Eight random bits a value are enough for a rate of whole 256ths, and cost a third of the time
    that TensorFlow's own uniform numbers take.
    """
    if rate * 256 % 1:
        return tf.nn.experimental.stateless_dropout(x, rate, seed)

    def uniform(shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        count = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, tf.uint32)
        values = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count]
        return tf.reshape(tf.cast(values, dtype) / 256, shape)

    return tf.nn.experimental.general_dropout(x, rate, uniform)


class Adam:
    """Adam (Kingma & Ba, 2015) as TensorFlow has it, with "epsilon hat"."""

    def __init__(self, recipe: Recipe, variables: dict[str, tf.Variable]) -> None:
        self.recipe = recipe
        self.m = {name: tf.Variable(tf.zeros_like(v)) for name, v in variables.items()}
        self.v = {name: tf.Variable(tf.zeros_like(v)) for name, v in variables.items()}

    def apply(
        self,
        variables: dict[str, tf.Variable],
        gradients: dict[str, tf.Tensor],
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        """One update; ``step`` counts from 0."""
        beta_1, beta_2 = self.recipe.beta_1, self.recipe.beta_2
        t = tf.cast(step + 1, tf.float32)
        rate = rate * tf.sqrt(1 - tf.pow(beta_2, t)) / (1 - tf.pow(beta_1, t))
        for name, gradient in gradients.items():
            variable, m, v = variables[name], self.m[name], self.v[name]
            m.assign_add((gradient - m) * (1 - beta_1))
            v.assign_add((tf.square(gradient) - v) * (1 - beta_2))
            variable.assign_sub(rate * m / (tf.sqrt(v) + self.recipe.epsilon))


class Workflow:
    """A network as TensorFlow variables, and the functions that run and train it."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        tf.config.experimental.enable_op_determinism()
        self.network, self.recipe, self.seed = network, recipe, seed
        self.dtype = tf.bfloat16 if recipe.precision == "bfloat16" else tf.float32
        self.variables = {
            name: tf.Variable(value, trainable=name.split("/")[1] not in NOT_TRAINED, name=name)
            for name, value in network.initial_weights(seed).items()
        }
        self.trained = {name: v for name, v in self.variables.items() if v.trainable}
        self.adam = Adam(recipe, self.trained)
        self.averages = {n: tf.Variable(v) for n, v in self.trained.items() if recipe.averaging}
        self.best: Weights = {}
        self.steps_taken = 0
        self.steps_functions: dict[tuple, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {}
        images = [None, *network.input_shape]
        self.predict, self.predict_in_float32 = (
            tf.function(
                partial(self.forward, dtype=dtype),
                input_signature=[tf.TensorSpec(images, tf.uint8)],
            )
            for dtype in (self.dtype, tf.float32)
        )
        self.dropout_seeds = {
            layer.name: int(generator(seed, f"dropout/{layer.name}").integers(2**31))
            for layer in network.layers
            if isinstance(layer, Dropout)
        }

    # The network.

    @tf.autograph.experimental.do_not_convert  # plain Python, and AutoGraph does not read ``match``
    def forward(
        self,
        images: tf.Tensor,
        dtype: tf.DType,
        training: bool = False,
        step: tf.Tensor | int = 0,
        moving: dict[str, tf.Tensor] | None = None,
        outputs: dict[str, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """uint8 images (batch, height, width, channels) to float32 logits (batch, classes).

        Leaves batch normalisation's new averages in ``moving`` and each layer's output in
        ``outputs``, where given.
        """
        x = tf.cast(tf.cast(images, tf.float32) * np.float32(1 / 255), dtype)
        for layer, before, _ in self.network.steps():
            match layer:
                case Conv():
                    kernel, bias = self.read(layer.name, dtype, "kernel", "bias")
                    x = tf.nn.conv2d(x, kernel, layer.stride, layer.padding.upper())
                    x = activate(layer, tf.nn.bias_add(x, bias))
                case MaxPool():
                    x = tf.nn.max_pool2d(x, layer.size, layer.steps, layer.padding.upper())
                case AveragePool():
                    x = tf.nn.avg_pool2d(x, layer.size, layer.steps, layer.padding.upper())
                case Dropout():
                    if training and layer.rate:
                        x = drop(x, layer.rate, [self.dropout_seeds[layer.name], step])
                case Flatten():
                    if x.shape[1:] != before:  # a cropped image's
                        x = tf.pad(x, [(0, 0), *margins(before, x.shape[1:])])
                    x = tf.reshape(x, [tf.shape(x)[0], -1])
                case Dense():
                    kernel, bias = self.read(layer.name, dtype, "kernel", "bias")
                    x = activate(layer, tf.matmul(x, kernel) + bias)
                case BatchNorm():
                    x = self.batch_norm(layer, x, training, moving)
                case Activate():
                    x = activate(layer, x)
            if outputs is not None:
                outputs[layer.name] = x
        return tf.cast(x, tf.float32)

    def batch_norm(
        self, layer: BatchNorm, x: tf.Tensor, training: bool, moving: dict[str, tf.Tensor] | None
    ) -> tf.Tensor:
        gamma, beta, mean, variance = self.read(
            layer.name, tf.float32, "gamma", "beta", "moving_mean", "moving_variance"
        )
        x32 = tf.cast(x, tf.float32)
        if training:
            old_mean, old_variance, kept = mean, variance, layer.momentum
            mean, variance = tf.nn.moments(x32, axes=list(range(x.shape.rank - 1)))
            if moving is not None:
                moving[f"{layer.name}/moving_mean"] = old_mean * kept + mean * (1 - kept)
                moving[f"{layer.name}/moving_variance"] = old_variance * kept + variance * (
                    1 - kept
                )
        x32 = tf.nn.batch_normalization(x32, mean, variance, beta, gamma, layer.epsilon)
        return tf.cast(x32, x.dtype)

    def read(self, layer: str, dtype: tf.DType, *names: str) -> list[tf.Tensor]:
        """The layer's weights, in the precision that they are computed with."""
        return [tf.cast(self.variables[f"{layer}/{name}"], dtype) for name in names]

    # One step.

    def gradients(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        step: tf.Tensor | int,
        moving: dict[str, tf.Tensor] | None = None,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss, accuracy and the gradients of one batch, but for what is frozen."""
        with tf.GradientTape() as tape:
            logits = self.forward(images, self.dtype, training=True, step=step, moving=moving)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        hits = tf.equal(tf.argmax(logits, axis=1), labels)
        accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
        live = {name: v for name, v in self.trained.items() if name not in frozen}
        return loss, accuracy, tape.gradient(loss, live)

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
            loss, accuracy = self.train_step(frozen, images[i], labels[i], rates[i], first + i)
            losses, accuracies = losses.write(i, loss), accuracies.write(i, accuracy)
        return losses.stack(), accuracies.stack()

    # The training.

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
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        batches = Batches(data.train, self.recipe, self.seed)
        rates = self.recipe.learning_rates(batches.steps)
        self.best = self.restore(state) if state else {}
        self.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step

        while not progress.finished:
            while progress.step < batches.steps_per_epoch:
                start = time.perf_counter()
                images, labels = batches.stacked(progress.epoch, progress.step, STEPS_A_CALL)
                steps, size = labels.shape
                now = rates[self.steps_taken : self.steps_taken + steps]
                frozen = self.network.frozen_weights(batches.frozen(progress.epoch, progress.step))
                first = np.int32(self.steps_taken)
                losses, accuracies = self.run_steps(images, labels, now, first, frozen)
                self.steps_taken += steps

                progress.step += steps
                progress.images += steps * size
                progress.loss_sum += float(tf.reduce_sum(losses)) * size
                progress.correct += float(tf.reduce_sum(accuracies)) * size
                progress.loss, progress.accuracy = float(losses[-1]), float(accuracies[-1])
                progress.seconds += time.perf_counter() - start
                if monitor.advanced(progress, self.state):
                    return

            start = time.perf_counter()
            newest = self.weights()
            self.load(newest | {name: average.numpy() for name, average in self.averages.items()})
            loss, accuracy = self.evaluate(data.validation)
            seconds = time.perf_counter() - start
            if progress.end_epoch(self.recipe, loss, accuracy, seconds):
                self.best = self.weights()
            if not progress.finished:
                self.load(newest)
            elif self.best:
                self.load(self.best)
            if monitor.epoch_ended(progress, self.state):
                return

    def state(self) -> State:
        """All arrays that `restore` needs."""
        return {
            **{f"weights/{name}": value for name, value in self.weights().items()},
            **{f"adam/m/{name}": m.numpy() for name, m in self.adam.m.items()},
            **{f"adam/v/{name}": v.numpy() for name, v in self.adam.v.items()},
            **{f"average/{name}": average.numpy() for name, average in self.averages.items()},
            **{f"best/{name}": value for name, value in self.best.items()},
        }

    def restore(self, state: State) -> Weights:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""
        self.load({name: state[f"weights/{name}"] for name in self.variables})
        for name in self.trained:
            self.adam.m[name].assign(state[f"adam/m/{name}"])
            self.adam.v[name].assign(state[f"adam/v/{name}"])
        for name, average in self.averages.items():
            average.assign(state[f"average/{name}"])
        return {name[5:]: value for name, value in state.items() if name.startswith("best/")}

    # Inference.

    def logits(self, images: np.ndarray) -> np.ndarray:
        parts = [
            self.predict_in_float32(images[i : i + IMAGES_A_CALL]).numpy()
            for i in range(0, len(images), IMAGES_A_CALL)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.network.classes), np.float32)

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        loss = correct = 0.0
        for i in range(0, len(split.labels), IMAGES_A_CALL):
            labels = split.labels[i : i + IMAGES_A_CALL].astype(np.int64)
            logits = self.predict(split.images[i : i + IMAGES_A_CALL])
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss += float(tf.reduce_sum(losses))
            correct += int(np.sum(np.argmax(logits, axis=1) == labels))
        return loss / len(split.labels), correct / len(split.labels)

    # What the other workflows can be held against.

    def summary(self) -> dict[str, tuple[Shape, int]]:
        outputs: dict[str, tf.Tensor] = {}
        self.forward(tf.zeros([1, *self.network.input_shape]), tf.float32, outputs=outputs)
        parameters = dict.fromkeys(outputs, 0)
        for name, variable in self.variables.items():
            parameters[name.split("/")[0]] += int(tf.size(variable))
        return {name: (tuple(x.shape[1:]), parameters[name]) for name, x in outputs.items()}

    def weights(self) -> Weights:
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        for name, variable in self.variables.items():
            variable.assign(weights[name])

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        loss, _, gradients = self.gradients(
            tf.constant(images), tf.constant(labels, tf.int64), self.steps_taken
        )
        return float(loss), {name: gradient.numpy() for name, gradient in gradients.items()}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        rate = np.float32([self.recipe.learning_rate])
        labels = labels.astype(np.int64)
        step = np.int32(self.steps_taken)
        losses, _ = self.run_steps(images[None], labels[None], rate, step)
        self.steps_taken += 1
        return float(losses[0])
