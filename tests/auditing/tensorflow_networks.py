"""Networks in low-level TensorFlow, as people write them by hand."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import os
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.graph import Node

RANDOM = np.random.default_rng(0)


def variable(*shape: int, **settings: Any) -> tf.Variable:
    return tf.Variable(RANDOM.normal(0, 0.3, shape).astype(np.float32), **settings)


class Sgd:
    """Something that trains: subclasses have variables and a loss."""

    variables: Any = ()
    rate = 0.1

    def loss(self, x: Any, y: Any) -> Any:
        raise NotImplementedError

    def step(self, x: Any, y: Any) -> Any:
        given = self.variables
        all_of_them = given.values() if isinstance(given, dict) else given
        trained = [each for each in all_of_them if each.trainable]
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        for each, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
            if gradient is not None:
                each.assign_sub(self.rate * gradient)
        return loss


class Convolutional(Sgd):
    """Much of what people write by hand, once."""

    def __init__(self) -> None:
        self.variables = {
            "first": variable(3, 3, 1, 4),
            "first_bias": variable(4),
            "scale": variable(4),
            "shift": variable(4),
            "mean": tf.Variable(tf.zeros(4), trainable=False),
            "variance": tf.Variable(tf.ones(4), trainable=False),
            "deep": variable(3, 3, 4, 2),
            "last": variable(3, 3, 8, 4),
            "last_bias": variable(4),
            "out": variable(10, 4),
        }

    def network(self, x: Any, training: bool) -> Any:
        v = self.variables
        x = (x - 0.1307) / 0.3081
        x = tf.nn.conv2d(x, v["first"], 2, [[0, 0], [1, 1], [2, 1], [0, 0]]) + v["first_bias"]
        x = self.normalised(x, training)
        x = tf.maximum(x, 0.2 * x)
        x = before = tf.nn.max_pool2d(x, 3, 2, "SAME")
        x = tf.nn.depthwise_conv2d(x, v["deep"], [1, 1, 1, 1], "SAME")
        x = x * tf.sigmoid(x)
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.bias_add(tf.nn.conv2d(x, v["last"], 1, "VALID"), v["last_bias"])
        x = tf.nn.relu(x + before)
        if training:
            x = tf.nn.dropout(x, 0.3)
        x = 1.0507009873554805 * tf.where(x > 0, x, 1.6732632423543772 * (tf.exp(x) - 1))
        x = tf.reduce_mean(x, [1, 2])
        return tf.matmul(x, v["out"], transpose_b=True)

    def normalised(self, x: Any, training: bool) -> Any:
        v = self.variables
        mean, variance = v["mean"], v["variance"]
        if training:
            count = tf.cast(tf.size(x) // 4, tf.float32)
            mean = tf.reduce_mean(x, [0, 1, 2])
            variance = tf.reduce_mean((x - mean) ** 2, [0, 1, 2])
            v["mean"].assign(0.95 * v["mean"] + 0.05 * mean)
            v["variance"].assign(0.95 * v["variance"] + 0.05 * variance * count / (count - 1))
        return v["scale"] * (x - mean) / tf.sqrt(variance + 1e-5) + v["shift"]

    @tf.function
    def loss(self, x: Any, y: Any) -> Any:
        losses = tf.nn.softmax_cross_entropy_with_logits(y, self.network(x, training=True))
        return tf.reduce_mean(losses) + 1e-3 * tf.nn.l2_loss(self.variables["out"])

    def logits(self, x: Any) -> Any:
        return self.network(x, training=False)


class Signal(Sgd):
    """1-D, flattened with its channels first, dropout by hand; a regression."""

    input_shape = (20, 3)

    def __init__(self) -> None:
        self.variables = (variable(3, 3, 5), variable(5), variable(50, 1), variable(7))

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out, _ = self.variables
        x = tf.nn.leaky_relu(tf.nn.conv1d(x, kernel, 2, "SAME") + bias)
        x = tf.reshape(tf.transpose(x, [0, 2, 1]), [-1, 50])
        x *= tf.cast(tf.random.uniform(tf.shape(x)) < 0.75, tf.float32) / 0.75
        return tf.reduce_mean((tf.squeeze(x @ out, -1) - y) ** 2)


class Sequence(Sgd):
    """A product with every place of a sequence; numbers for targets."""

    input_shape: ClassVar = [7, 6]

    def __init__(self) -> None:
        self.variables = [variable(6, 8), variable(8), variable(8, 2)]

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out = self.variables
        hidden = tf.tanh(tf.tensordot(x, kernel, 1) + bias)
        return tf.reduce_mean(tf.square(hidden @ out - y))


class Binary(Sgd):
    """A layer that nobody knows, and a cross-entropy written out."""

    input_shape: ClassVar = [6]

    def __init__(self) -> None:
        self.variables = [variable(6, 8), variable(8), variable(8, 1), variable(8)]

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out, slopes = self.variables
        x = tf.matmul(x, kernel) + bias
        x = tf.maximum(x, 0) + slopes * tf.square(tf.minimum(x, 0))
        p = tf.clip_by_value(tf.sigmoid(x @ out), 1e-7, 1 - 1e-7)
        return -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))


class Perceptron(Sgd):
    """A step by a Keras optimiser that clips, in a ``tf.function``, with a bias left frozen."""

    def __init__(self) -> None:
        names = ("hidden", "out", "bias")
        shapes = ((784, 16), (16, 10), (16,))
        self.variables = [variable(*s, name=n) for n, s in zip(names, shapes, strict=True)]
        self.optimizer = tf.keras.optimizers.SGD(0.5, clipnorm=1.0)

    def loss(self, x: Any, y: Any) -> Any:
        hidden, out, bias = self.variables
        x = tf.nn.gelu(x @ hidden + bias, approximate=True)
        shares = tf.nn.softmax(x @ out)
        return -tf.reduce_mean(tf.reduce_sum(tf.one_hot(y, 10) * tf.math.log(shares + 1e-8), 1))

    @tf.function
    def step(self, x: Any, y: Any) -> None:
        trained = {"b": self.variables[1], "a": self.variables[0]}
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        gradients = tape.gradient(loss, trained)
        self.optimizer.apply_gradients([(gradients[name], trained[name]) for name in trained])


HAND_WRITTEN = (Convolutional, Signal, Sequence, Binary, Perceptron)


@cache
def side(make: Callable[[], Any]) -> Adapter:
    """A side whose every build starts from the same numbers."""

    def build(_: int) -> Any:
        global RANDOM
        RANDOM = np.random.default_rng(0)
        return make()

    return Adapter(build)


def found(model: Adapter) -> list[tuple[str, str]]:
    return [(n.attributes.get("function") or n.kind, n.name) for n in model.graph().nodes]


def node(model: Any, name: str) -> Node:
    return next(node for node in model.graph().nodes if node.name == name)
