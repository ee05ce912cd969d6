"""Keras models whose own training step computes the loss, as in many tutorials."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from diptych.auditing import audit

X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 40)


class Coder(keras.Model):
    """A variational autoencoder, whose training step alone uses one of its heads."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        inputs = keras.Input((6,))
        h = layers.Dense(5, activation="relu")(inputs)
        self.encoder = keras.Model(inputs, [layers.Dense(2)(h), layers.Dense(2)(h)])
        self.decoder = keras.Sequential([keras.Input((2,)), layers.Dense(6)])
        self.weight = weight

    def call(self, x):
        return self.decoder(self.encoder(x)[0])

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            mean, spread = self.encoder(x)
            noise = tf.random.normal(tf.shape(mean), dtype=mean.dtype)
            outputs = self.decoder(mean + tf.exp(spread / 2) * noise)
            divergence = tf.reduce_mean(1 + spread - mean**2 - tf.exp(spread))
            loss = tf.reduce_mean((outputs - y) ** 2) - self.weight * divergence
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def coder(weight: float = 1.0):
    model = Coder(weight)
    model(X[:1])
    model.compile(keras.optimizers.SGD(0.05))
    return model, {"data": (X, X)}


class Classifier(keras.Model):
    """A classifier whose loss is in its step and not in ``compile``."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.loss_of(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}

    def loss_of(self, y, outputs):
        sparse = keras.losses.sparse_categorical_crossentropy
        return tf.reduce_mean(sparse(y, outputs, from_logits=True))


def classifier(cls: type = Classifier):
    inputs = keras.Input((6,))
    model = cls(inputs, layers.Dense(3)(layers.Dense(5, activation="relu")(inputs)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), None if issubclass(cls, Classifier) else loss)
    return model, {"data": (X, Y)}


def test_a_variational_autoencoder_is_itself() -> None:
    result = audit(coder, coder)
    assert not result.findings
    assert "randomness" in {stage.name for stage in result.stages if stage.ok}


def test_another_weight_of_the_divergence_differs() -> None:
    assert audit(coder, lambda: coder(3.0)).findings


def test_a_loss_in_the_step_is_that_of_fit() -> None:
    result = audit(classifier, lambda: classifier(keras.Model))
    assert not result.findings
    stages = {stage.name: stage for stage in result.stages}
    assert stages["gradients"].ok and stages["trajectory"].ok
    assert "its own loss" in str(stages["loss"].coverage.left_out)


class Doubled(Classifier):
    """The same with twice the loss."""

    def loss_of(self, y, outputs):
        return 2 * super().loss_of(y, outputs)


def test_a_loss_in_the_step_that_is_doubled_differs() -> None:
    assert audit(classifier, lambda: classifier(Doubled)).findings
