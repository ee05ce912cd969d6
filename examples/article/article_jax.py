"""The network article in JAX: pure functions of a dictionary of weights.

It trains by the recipe article. It needs JAX, optax and NumPy. It reads MNIST's four
IDX files in the folder that is its argument, or in mnist, and downloads what is
missing there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax


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


def initial(key):
    """Kernels as of Glorot & Bengio (2010), biases of zero."""
    glorot = jax.nn.initializers.glorot_uniform()
    keys = iter(jax.random.split(key, 6))

    def layer(key, shape):
        return {"kernel": glorot(key, shape), "bias": jnp.zeros(shape[-1])}

    return {
        "conv_1": layer(next(keys), (3, 3, 1, 64)),
        "conv_2": layer(next(keys), (3, 3, 64, 64)),
        "conv_3": layer(next(keys), (3, 3, 64, 32)),
        "conv_4": layer(next(keys), (3, 3, 32, 32)),
        "dense_1": layer(next(keys), (1568, 256)),
        "output": layer(next(keys), (256, 10)),
    }


def conv(x, layer, stride, padding):
    order = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, layer["kernel"], stride, padding, None, None, order)
    return x + layer["bias"]


def max_pool(x, size, stride, padding):
    size, stride = (1, *size, 1), (1, *stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, size, stride, padding)


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def dropout(x, rate, key, number):
    """Drops nothing at inference, where there is no key."""
    if key is None:
        return x
    kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


def forward(params, x, key=None):
    """The logits; with a key for dropout, those of training."""
    x = jax.nn.relu(conv(x, params["conv_1"], (1, 1), "SAME"))
    x = jax.nn.relu(conv(x, params["conv_2"], (1, 1), "SAME"))
    x = max_pool(x, (2, 2), (2, 2), "VALID")
    x = dropout(x, 0.25, key, 0)
    x = jax.nn.relu(conv(x, params["conv_3"], (1, 1), "SAME"))
    x = jax.nn.relu(conv(x, params["conv_4"], (1, 1), "SAME"))
    x = max_pool(x, (2, 2), (2, 2), "VALID")
    x = dropout(x, 0.25, key, 1)
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(dense(x, params["dense_1"]))
    x = dropout(x, 0.5, key, 2)
    return dense(x, params["output"])


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def loss_of(params, x, y, key):
    logits = forward(params, x, key)
    return cross_entropy(logits, y), jnp.mean(logits.argmax(axis=1) == y)


def epsilon(step):
    """Keras adds Adam's epsilon before the bias is corrected, optax after that."""
    return 1e-7 / jnp.sqrt(1 - 0.999 ** (step + 1))


optimizer = optax.inject_hyperparams(optax.adam)(0.001, b1=0.9, b2=0.999, eps=epsilon)


@jax.jit
def step(params, state, x, y, key):
    """One step of Adam; also returns the batch's loss and accuracy before it."""
    gradient = jax.value_and_grad(loss_of, has_aux=True)
    (loss, hits), gradients = gradient(params, x, y, key)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss, hits


@jax.jit
def predict(params, x):
    return forward(params, x)


def evaluate(params, x, y):
    """Loss and accuracy on images that are not trained on, 500 at a time."""
    parts = [predict(params, x[i : i + 500]) for i in range(0, len(x), 500)]
    logits = jnp.concatenate(parts)
    return cross_entropy(logits, y), jnp.mean(logits.argmax(axis=1) == y)


def train(folder):
    (x, y), validation, test = load(folder)
    rng = np.random.default_rng(0)
    key = jax.random.key(1)
    params = initial(jax.random.key(0))
    state = optimizer.init(params)
    for epoch in range(1, 11):
        order = rng.permutation(len(y))
        for i in range(0, len(y), 50):
            rows = order[i : i + 50]
            key, now = jax.random.split(key)
            batch = x[rows], y[rows]
            params, state, loss, hits = step(params, state, *batch, now)
        validation_loss, validation_hits = evaluate(params, *validation)
        print(
            f"Epoch {epoch} | Last Batch Train Loss: {loss:.4f} | "
            f"Last Batch Train Accuracy: {hits:.4f} | "
            f"Validation Loss: {validation_loss:.4f} | "
            f"Validation Accuracy: {validation_hits:.4f}",
            flush=True,
        )
    _, test_hits = evaluate(params, *test)
    print(f"Final accuracy on test set: {test_hits:.4f}")


def build():
    start = {"params": initial(jax.random.key(0))}
    return forward, cross_entropy, optimizer, start


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
