"""Stock TensorFlow: a ``tf.Module``, a ``tf.data`` pipeline, a ``tf.function`` a batch.

The optimiser is ``tf.keras``', as in TensorFlow's own guides.
"""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

import time

import numpy as np
import tensorflow as tf


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

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        x = self.conv(self.conv(x, 0), 1)
        x = tf.nn.dropout(tf.nn.max_pool2d(x, 2, 2, "VALID"), 0.25)
        x = self.conv(self.conv(x, 2), 3)
        x = tf.nn.dropout(tf.nn.max_pool2d(x, 2, 2, "VALID"), 0.25)
        x = tf.reshape(x, [-1, 1568])
        x = tf.nn.dropout(tf.nn.relu(x @ self.kernels[4] + self.biases[4]), 0.5)
        return x @ self.kernels[5] + self.biases[5]


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    net, optimizer = Net(), tf.keras.optimizers.Adam()

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, net(x))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    x = images.astype("float32") / 255
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(10_000).batch(batch_size)
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
