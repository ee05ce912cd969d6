"""Stock TensorFlow: a ``tf.Module``, a ``tf.data`` pipeline, a ``tf.function`` a batch.

The optimiser is ``tf.keras``', as in TensorFlow's own guides.
"""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from diptych.benchmarks.stopwatch import Stopwatch


class Net(tf.Module):
    """The article's network."""

    def __init__(self) -> None:
        super().__init__()
        initial = tf.keras.initializers.GlorotUniform()
        shapes = [(3, 3, 1, 64), (3, 3, 64, 64), (3, 3, 64, 32), (3, 3, 32, 32), (1568, 256)]
        shapes.append((256, 10))
        self.kernels = [tf.Variable(initial(shape)) for shape in shapes]
        self.biases = [tf.Variable(tf.zeros(shape[-1])) for shape in shapes]

    def conv(self, x: tf.Tensor, number: int) -> tf.Tensor:
        x = tf.nn.conv2d(x, self.kernels[number], strides=1, padding="SAME")
        return tf.nn.relu(x + self.biases[number])

    def __call__(self, x: tf.Tensor, training: bool = True) -> tf.Tensor:
        def dropped(x: tf.Tensor, rate: float) -> tf.Tensor:
            return tf.nn.dropout(x, rate) if training else x

        x = self.conv(self.conv(x, 0), 1)
        x = dropped(tf.nn.max_pool2d(x, 2, 2, "VALID"), 0.25)
        x = self.conv(self.conv(x, 2), 3)
        x = dropped(tf.nn.max_pool2d(x, 2, 2, "VALID"), 0.25)
        x = tf.reshape(x, [-1, 1568])
        x = dropped(tf.nn.relu(x @ self.kernels[4] + self.biases[4]), 0.5)
        return x @ self.kernels[5] + self.biases[5]


def step_function(net: Net) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A compiled training step: a batch and its labels to the mean loss."""
    optimizer = tf.keras.optimizers.Adam()

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, net(x))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    return train_step


def shuffled(images: np.ndarray, labels: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Batches of an epoch, in another order each time."""
    x = images.astype("float32") / 255
    return tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(10_000).batch(batch_size)


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    """The article's training: so many epochs in batches of 50."""
    tf.keras.utils.set_random_seed(seed)
    clock.start()
    net = Net()
    train_step, batches = step_function(net), shuffled(images, labels, 50)
    steps = length * len(batches)
    for taken, (batch, targets) in enumerate(batches.repeat(length), 1):
        loss = train_step(batch, targets)
        if taken == steps:
            float(loss)  # The last step has ended.
            clock.stop()  # Giving the pipeline up may wait as Keras' `fit` does.

    def predict(images: np.ndarray) -> np.ndarray:
        parts = np.split(images.astype("float32") / 255, range(500, len(images), 500))
        return np.concatenate([np.argmax(net(part, training=False), axis=1) for part in parts])

    return predict


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    train_step, batches = step_function(Net()), shuffled(images, labels, batch_size)
    steps = len(batches)
    start = end = 0.0
    for number, (batch, targets) in enumerate(batches):
        if number == warm_up:
            start = time.perf_counter()
        loss = train_step(batch, targets)
        if number == steps - 1:
            float(loss)  # The last step has ended.
            # To leave the loop gives the pipeline up, which may wait as Keras' `fit` does.
            end = time.perf_counter()
    return (end - start) / (steps - warm_up)
