"""The network article in Flax NNX.

It trains by the recipe article. It needs JAX, Flax, optax and NumPy. It reads
MNIST's four IDX files in the folder that is its argument, or in mnist, and downloads
what is missing there.
"""

import gzip
import sys
from functools import partial
from pathlib import Path
from urllib.request import urlretrieve

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx


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


glorot = nnx.initializers.glorot_uniform()
Conv = partial(nnx.Conv, kernel_init=glorot)
Linear = partial(nnx.Linear, kernel_init=glorot)


class Network(nnx.Module):
    def __init__(self, rngs):
        self.conv_1 = Conv(1, 64, (3, 3), rngs=rngs)
        self.conv_2 = Conv(64, 64, (3, 3), rngs=rngs)
        self.dropout_1 = nnx.Dropout(0.25, rngs=rngs)
        self.conv_3 = Conv(64, 32, (3, 3), rngs=rngs)
        self.conv_4 = Conv(32, 32, (3, 3), rngs=rngs)
        self.dropout_2 = nnx.Dropout(0.25, rngs=rngs)
        self.dense_1 = Linear(1568, 256, rngs=rngs)
        self.dropout_3 = nnx.Dropout(0.5, rngs=rngs)
        self.output = Linear(256, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv_1(x))
        x = nnx.relu(self.conv_2(x))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = self.dropout_1(x)
        x = nnx.relu(self.conv_3(x))
        x = nnx.relu(self.conv_4(x))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = self.dropout_2(x)
        x = x.reshape(len(x), -1)
        x = nnx.relu(self.dense_1(x))
        x = self.dropout_3(x)
        return self.output(x)


def epsilon(step):
    """Keras adds Adam's epsilon before the bias is corrected, optax after that."""
    return 1e-7 / jnp.sqrt(1 - 0.999 ** (step + 1))


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def loss_of(model, x, y):
    logits = model(x)
    return cross_entropy(logits, y), jnp.mean(logits.argmax(axis=1) == y)


@nnx.jit
def step(model, optimizer, x, y):
    """One step of Adam; returns the batch's loss and accuracy before it."""
    gradient = nnx.value_and_grad(loss_of, has_aux=True)
    (loss, hits), gradients = gradient(model, x, y)
    optimizer.update(model, gradients)
    return loss, hits


@nnx.jit
def predict(model, x):
    return model(x)


def evaluate(model, x, y):
    """Loss and accuracy on images that are not trained on, 500 at a time."""
    model.eval()
    logits = [predict(model, x[i : i + 500]) for i in range(0, len(x), 500)]
    logits = jnp.concatenate(logits)
    return cross_entropy(logits, y), jnp.mean(logits.argmax(axis=1) == y)


def train(folder):
    (x, y), validation, test = load(folder)
    rng = np.random.default_rng(0)
    model, _, optimizer = build()
    for epoch in range(1, 11):
        model.train()
        order = rng.permutation(len(y))
        for i in range(0, len(y), 50):
            rows = order[i : i + 50]
            loss, hits = step(model, optimizer, x[rows], y[rows])
        validation_loss, validation_hits = evaluate(model, *validation)
        print(
            f"Epoch {epoch} | Last Batch Train Loss: {loss:.4f} | "
            f"Last Batch Train Accuracy: {hits:.4f} | "
            f"Validation Loss: {validation_loss:.4f} | "
            f"Validation Accuracy: {validation_hits:.4f}",
            flush=True,
        )
    _, test_hits = evaluate(model, *test)
    print(f"Final accuracy on test set: {test_hits:.4f}")


def build():
    model = Network(nnx.Rngs(0))
    adam = optax.inject_hyperparams(optax.adam)(0.001, b1=0.9, b2=0.999, eps=epsilon)
    return model, cross_entropy, nnx.Optimizer(model, adam, wrt=nnx.Param)


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
