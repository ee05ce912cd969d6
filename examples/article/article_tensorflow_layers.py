"""The network article in TensorFlow with Keras' layers and a loop of its own.

It trains by the recipe article. It needs TensorFlow and NumPy. It reads MNIST's four
IDX files in the folder that is its argument, or in mnist, and downloads what is
missing there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import keras
import numpy as np
import tensorflow as tf
from keras import layers


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


class Network:
    def __init__(self):
        self.model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Dropout(0.25),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(2),
                layers.Dropout(0.25),
                layers.Flatten(),
                layers.Dense(256, activation="relu"),
                layers.Dropout(0.5),
                layers.Dense(10),
            ]
        )
        self.variables = dict(enumerate(w.value for w in self.model.weights))
        self.optimizer = keras.optimizers.Adam(0.001)

    def logits(self, x):
        return self.model(x, training=False)

    def loss(self, x, y):
        return cross_entropy(y, self.model(x, training=True))

    @tf.function(autograph=False)
    def step(self, x, y):
        """One step of Adam; returns the batch's loss and accuracy before it."""
        with tf.GradientTape() as tape:
            logits = self.model(x, training=True)
            loss = cross_entropy(y, logits)
        weights = self.model.trainable_weights
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        self.optimizer.apply(gradients, weights)
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
    keras.utils.set_random_seed(0)
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
