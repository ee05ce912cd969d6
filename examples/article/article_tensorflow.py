"""The network article in low-level TensorFlow: variables, tf.nn, GradientTape.

It trains by the recipe article. It needs TensorFlow and NumPy. It reads MNIST's four
IDX files in the folder that is its argument, or in mnist, and downloads what is
missing there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import numpy as np
import tensorflow as tf


def load(folder):
    """Training, validation and test images in [0, 1], each with their labels."""

    def read(name, header):
        file = Path(folder, name)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            urlretrieve(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", file)
        content = gzip.decompress(file.read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    def split(images, labels):
        x = read(images, 16).reshape(-1, 28, 28, 1)
        return x.astype(np.float32) / 255, read(labels, 8).astype(np.int64)

    x, y = split("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test = split("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    return (x[5000:], y[5000:]), (x[:5000], y[:5000]), test


def glorot(*shape):
    """A kernel, uniform within the limits of Glorot & Bengio (2010)."""
    window = np.prod(shape[:-2])
    limit = np.sqrt(6 / (window * (shape[-2] + shape[-1])))
    return tf.Variable(tf.random.uniform(shape, -limit, limit))


def zeros(*shape):
    return tf.Variable(tf.zeros(shape))


def dropout(x, rate, training):
    return tf.nn.dropout(x, rate) if training else x


class Network:
    def __init__(self):
        self.variables = {
            "conv_1/kernel": glorot(3, 3, 1, 64),
            "conv_1/bias": zeros(64),
            "conv_2/kernel": glorot(3, 3, 64, 64),
            "conv_2/bias": zeros(64),
            "conv_3/kernel": glorot(3, 3, 64, 32),
            "conv_3/bias": zeros(32),
            "conv_4/kernel": glorot(3, 3, 32, 32),
            "conv_4/bias": zeros(32),
            "dense_1/kernel": glorot(1568, 256),
            "dense_1/bias": zeros(256),
            "output/kernel": glorot(256, 10),
            "output/bias": zeros(10),
        }
        self.m = {name: zeros(*v.shape) for name, v in self.variables.items()}
        self.v = {name: zeros(*v.shape) for name, v in self.variables.items()}
        self.steps = tf.Variable(0)

    def logits(self, x, training=False):
        w = self.variables
        x = tf.nn.conv2d(x, w["conv_1/kernel"], strides=1, padding="SAME")
        x = tf.nn.relu(x + w["conv_1/bias"])
        x = tf.nn.conv2d(x, w["conv_2/kernel"], strides=1, padding="SAME")
        x = tf.nn.relu(x + w["conv_2/bias"])
        x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")
        x = dropout(x, 0.25, training)
        x = tf.nn.conv2d(x, w["conv_3/kernel"], strides=1, padding="SAME")
        x = tf.nn.relu(x + w["conv_3/bias"])
        x = tf.nn.conv2d(x, w["conv_4/kernel"], strides=1, padding="SAME")
        x = tf.nn.relu(x + w["conv_4/bias"])
        x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")
        x = dropout(x, 0.25, training)
        x = tf.reshape(x, [-1, 1568])
        x = tf.nn.relu(x @ w["dense_1/kernel"] + w["dense_1/bias"])
        x = dropout(x, 0.5, training)
        return x @ w["output/kernel"] + w["output/bias"]

    def loss(self, x, y):
        return cross_entropy(y, self.logits(x, training=True))

    @tf.function(autograph=False)
    def step(self, x, y):
        """One step of Adam; returns the batch's loss and accuracy before it."""
        with tf.GradientTape() as tape:
            logits = self.logits(x, training=True)
            loss = cross_entropy(y, logits)
        gradients = tape.gradient(loss, self.variables)
        t = tf.cast(self.steps.assign_add(1), tf.float32)
        rate = 0.001 * tf.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        for name, gradient in gradients.items():
            m, v = self.m[name], self.v[name]
            m.assign(0.9 * m + 0.1 * gradient)
            v.assign(0.999 * v + 0.001 * gradient**2)
            self.variables[name].assign_sub(rate * m / (tf.sqrt(v) + 1e-7))
        return loss, accuracy(y, logits)


def cross_entropy(y, logits):
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return tf.reduce_mean(losses)


def accuracy(y, logits):
    hits = tf.equal(tf.argmax(logits, axis=1), y)
    return tf.reduce_mean(tf.cast(hits, tf.float32))


def evaluate(network, x, y):
    """Loss and accuracy on images that are not trained on, 500 at a time."""
    logits = [network.logits(x[i : i + 500]) for i in range(0, len(x), 500)]
    logits = tf.concat(logits, axis=0)
    return cross_entropy(y, logits), accuracy(y, logits)


def train(folder):
    (x, y), validation, test = load(folder)
    tf.random.set_seed(0)
    rng = np.random.default_rng(0)
    network = build()
    for epoch in range(1, 11):
        order = rng.permutation(len(y))
        for i in range(0, len(y), 50):
            rows = order[i : i + 50]
            loss, hits = network.step(x[rows], y[rows])
        validation_loss, validation_hits = evaluate(network, *validation)
        print(
            f"Epoch {epoch} | Last Batch Train Loss: {loss:.4f} | "
            f"Last Batch Train Accuracy: {hits:.4f} | "
            f"Validation Loss: {validation_loss:.4f} | "
            f"Validation Accuracy: {validation_hits:.4f}",
            flush=True,
        )
    _, test_hits = evaluate(network, *test)
    print(f"Final accuracy on test set: {test_hits:.4f}")


def build():
    return Network()


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
