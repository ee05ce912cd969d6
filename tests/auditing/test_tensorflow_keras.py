"""Keras' layers, losses and optimisers in a loop of one's own with ``tf.GradientTape``."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

import os
from typing import Any

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import keras
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.adapter import Adapter

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(40, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[np.arange(40) % 3]


class Tutorial:
    """A model of unnamed layers with a softmax, a loss that takes its output for logits."""

    def __init__(self) -> None:
        self.net = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(3)]
        )
        self.optimizer = keras.optimizers.SGD(0.5)
        self.criterion = keras.losses.CategoricalCrossentropy(from_logits=True)
        self.variables = self.net.trainable_variables
        self.data = (X, Y)

    def loss(self, x: Any, y: Any) -> Any:
        return self.criterion(y, tf.nn.softmax(self.net(x, training=True)))

    def step(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        weights = self.net.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss


@pytest.fixture(scope="module")
def model() -> Adapter:
    return Adapter(lambda _: Tutorial())


def test_keras_variables_have_their_layers_names(model: Adapter) -> None:
    names = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert [name.removeprefix("sequential/") for name in model.parameters()] == names
    assert [node.kind for node in model.graph().nodes] == [
        "dense",
        "activation",
        "dense",
        "activation",
    ]


def test_the_loss_is_what_it_is_without_a_graph(model: Adapter) -> None:
    x, y = model.prepare(np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8, np.int64))
    user = model._builds.first.returned
    eager = float(user.criterion(y, tf.nn.softmax(user.net(x))))  # The softmax is taken twice.
    z = user.net(x).numpy()
    once = float(tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, z)))
    assert abs(eager - once) > 1e-3
    assert model.loss_and_gradients(x, y)[0] == pytest.approx(eager, rel=1e-5)


def test_steps_take_the_gradients_that_they_are_given(model: Adapter) -> None:
    before = model.parameters()
    [after] = model.updates([{name: np.ones_like(value) for name, value in before.items()}])
    for name, value in before.items():
        np.testing.assert_allclose(value - after[name], 0.5, rtol=1e-5)


def test_the_twin_is_the_same_in_float64(model: Adapter) -> None:
    x, y = model.prepare(np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8, np.int64))
    exact, _ = model.twin().loss_and_gradients(x.astype(np.float64), y)
    assert exact == pytest.approx(model.loss_and_gradients(x, y)[0], abs=1e-6)
