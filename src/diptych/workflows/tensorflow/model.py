"""The network in low-level TensorFlow: variables, ``tf.nn``, a loss, a tape. No Keras."""

from typing import assert_never

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false
import numpy as np
import tensorflow as tf

from diptych.layers import (
    NOT_TRAINED,
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    margins,
)
from diptych.network import Network
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows.tensorflow.dropout import drop, drop_rows
from diptych.workflows.tensorflow.parallel import Parallel


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


class Model:
    """A network as TensorFlow variables, and the functions that run and derive it."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe = network, recipe
        self.parallel: Parallel | None = None
        self.dtype = tf.bfloat16 if recipe.precision == "bfloat16" else tf.float32
        self.variables = {
            name: tf.Variable(value, trainable=name.split("/")[1] not in NOT_TRAINED, name=name)
            for name, value in network.initial_weights(seed).items()
        }
        self.trained = {name: v for name, v in self.variables.items() if v.trainable}
        self.dropout_seeds = {
            layer.name: int(generator(seed, f"dropout/{layer.name}").integers(2**31))
            for layer in network.layers
            if isinstance(layer, Dropout)
        }

    @tf.autograph.experimental.do_not_convert  # AutoGraph does not support ``match``
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

        Stores the new moving averages in ``moving`` and each layer's output in ``outputs``, if
        they are not None.
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
                        x = self.drop(layer, x, step)
                case Flatten():
                    if x.shape[1:] != before:  # from a cropped image
                        x = tf.pad(x, [(0, 0), *margins(before, x.shape[1:])])
                    x = tf.reshape(x, [tf.shape(x)[0], -1])
                case Dense():
                    kernel, bias = self.read(layer.name, dtype, "kernel", "bias")
                    x = activate(layer, tf.matmul(x, kernel) + bias)
                case BatchNorm():
                    x = self.batch_norm(layer, x, training, moving)
                case Activate():
                    x = activate(layer, x)
                case _:
                    assert_never(layer)
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

    def drop(self, layer: Dropout, x: tf.Tensor, step: tf.Tensor | int) -> tf.Tensor:
        seed = [self.dropout_seeds[layer.name], step]
        if self.parallel:
            return drop_rows(x, layer.rate, seed, self.parallel.first, self.parallel.count)
        return drop(x, layer.rate, seed)

    def read(self, layer: str, dtype: tf.DType, *names: str) -> list[tf.Tensor]:
        """The layer's weights, in the precision that they are computed with."""
        return [tf.cast(self.variables[f"{layer}/{name}"], dtype) for name in names]

    def gradients(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        step: tf.Tensor | int,
        moving: dict[str, tf.Tensor] | None = None,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss, accuracy and gradients of one batch, without those of frozen weights.

        Among several processes the images are this one's rows of the batch.
        """
        mean = self.parallel.mean if self.parallel else tf.reduce_mean
        with tf.GradientTape() as tape:
            logits = self.forward(images, self.dtype, training=True, step=step, moving=moving)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = mean(losses)
        hits = tf.equal(tf.argmax(logits, axis=1), labels)
        accuracy = mean(tf.cast(hits, tf.float32))
        live = {name: v for name, v in self.trained.items() if name not in frozen}
        measured = loss, accuracy, tape.gradient(loss, live)
        return self.parallel.sums(measured) if self.parallel else measured
