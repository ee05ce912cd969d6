"""The network article in NumPy: forwards, backwards, and Adam, in float64; slow.

It trains by the recipe article. It needs NumPy alone. It reads MNIST's four IDX
files in the folder that is its argument, or in mnist, and downloads what is missing
there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


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


class Layer:
    """Takes its input to its output, and the loss's gradient the other way."""

    weights = ()

    def forward(self, x, training):
        raise NotImplementedError

    def backward(self, gradient):
        """The gradients by the input, and by each of the weights."""
        raise NotImplementedError


def glorot(rng, shape):
    """A kernel, uniform within the limits of Glorot & Bengio (2010)."""
    window = np.prod(shape[:-2])
    limit = np.sqrt(6 / (window * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape)


NO_PADS = ((0, 0), (0, 0))


class Windowed(Layer):
    """A window that moves over the image, whose edges may be padded."""

    def __init__(self, size, stride, pads):
        self.size, self.stride, self.pads = size, stride, pads

    def windows(self, x, fill=0.0):
        """What the window sees: (n, rows, columns, channels, height, width)."""
        x = np.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=fill)
        self.shape = x.shape
        views = sliding_window_view(x, self.size, axis=(1, 2))
        return views[:, :: self.stride[0], :: self.stride[1]]

    def to_image(self, windows):
        """The reverse: adds up, per pixel, what all windows have for it."""
        x = np.zeros(self.shape)
        down, across = self.stride
        height, width = windows.shape[1] * down, windows.shape[2] * across
        for i, j in np.ndindex(*self.size):
            seen = x[:, i : i + height : down, j : j + width : across]
            seen += windows[..., i, j]
        (top, bottom), (left, right) = self.pads
        return x[:, top : self.shape[1] - bottom, left : self.shape[2] - right]


class Conv(Windowed):
    def __init__(self, rng, inputs, filters, size, stride=(1, 1), pads=NO_PADS):
        super().__init__(size, stride, pads)
        self.weights = glorot(rng, (*size, inputs, filters)), np.zeros(filters)

    def forward(self, x, training):
        kernel, bias = self.weights
        self.seen = self.windows(x)
        return np.tensordot(self.seen, kernel, ((4, 5, 3), (0, 1, 2))) + bias

    def backward(self, gradient):
        kernel, _ = self.weights
        to_kernel = np.tensordot(self.seen, gradient, ((0, 1, 2), (0, 1, 2)))
        to_windows = np.tensordot(gradient, kernel, (3, 3))
        to_weights = np.moveaxis(to_kernel, 0, 2), gradient.sum((0, 1, 2))
        return self.to_image(np.moveaxis(to_windows, 5, 3)), to_weights


class MaxPool(Windowed):
    def __init__(self, size, stride=None, pads=NO_PADS):
        super().__init__(size, stride or size, pads)

    def forward(self, x, training):
        windows = self.windows(x, fill=-np.inf)
        flat = windows.reshape(*windows.shape[:4], -1)
        self.first = flat.argmax(axis=-1, keepdims=True)
        return np.take_along_axis(flat, self.first, axis=-1)[..., 0]

    def backward(self, gradient):
        """The whole gradient goes to the first maximum of a window."""
        flat = np.zeros((*gradient.shape, self.size[0] * self.size[1]))
        np.put_along_axis(flat, self.first, gradient[..., None], axis=-1)
        return self.to_image(flat.reshape(*gradient.shape, *self.size)), ()


class Flatten(Layer):
    def forward(self, x, training):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient):
        return gradient.reshape(self.shape), ()


class Dense(Layer):
    def __init__(self, rng, inputs, units):
        self.weights = glorot(rng, (inputs, units)), np.zeros(units)

    def forward(self, x, training):
        kernel, bias = self.weights
        self.x = x
        return x @ kernel + bias

    def backward(self, gradient):
        kernel, _ = self.weights
        return gradient @ kernel.T, (self.x.T @ gradient, gradient.sum(0))


class ReLU(Layer):
    def forward(self, x, training):
        self.slope = x > 0
        return x * self.slope

    def backward(self, gradient):
        return gradient * self.slope, ()


class Dropout(Layer):
    def __init__(self, rng, rate):
        self.rng, self.rate = rng, rate

    def forward(self, x, training):
        if not training:
            return x
        self.scale = (self.rng.random(x.shape) >= self.rate) / (1 - self.rate)
        return x * self.scale

    def backward(self, gradient):
        return gradient * self.scale, ()


class Network:
    def __init__(self, rng):
        self.layers = [
            Conv(rng, 1, 64, (3, 3), pads=((1, 1), (1, 1))),
            ReLU(),
            Conv(rng, 64, 64, (3, 3), pads=((1, 1), (1, 1))),
            ReLU(),
            MaxPool((2, 2)),
            Dropout(rng, 0.25),
            Conv(rng, 64, 32, (3, 3), pads=((1, 1), (1, 1))),
            ReLU(),
            Conv(rng, 32, 32, (3, 3), pads=((1, 1), (1, 1))),
            ReLU(),
            MaxPool((2, 2)),
            Dropout(rng, 0.25),
            Flatten(),
            Dense(rng, 1568, 256),
            ReLU(),
            Dropout(rng, 0.5),
            Dense(rng, 256, 10),
        ]
        self.weights = [weight for layer in self.layers for weight in layer.weights]
        self.m = [np.zeros(weight.shape) for weight in self.weights]
        self.v = [np.zeros(weight.shape) for weight in self.weights]
        self.steps = 0

    def logits(self, x, training=False):
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def gradients(self, x, y):
        """Loss and accuracy in training, and the gradients by all weights."""
        logits = self.logits(x.astype(np.float64), training=True)
        loss, hits, gradient = cross_entropy(logits, y)
        gradients = []
        for layer in reversed(self.layers):
            gradient, to_weights = layer.backward(gradient)
            gradients[:0] = to_weights
        return loss, hits, gradients

    def step(self, x, y):
        """One step of Adam; returns the batch's loss and accuracy before it."""
        loss, hits, gradients = self.gradients(x, y)
        self.steps += 1
        t = self.steps
        rate = 0.001 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        moments = zip(self.m, self.v, strict=True)
        for w, gradient, (m, v) in zip(self.weights, gradients, moments, strict=True):
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            w -= rate * m / (np.sqrt(v) + 1e-7)
        return loss, hits


def cross_entropy(logits, y):
    """Mean loss, accuracy, and the loss's gradient by the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    truth = np.eye(logits.shape[1])[y]
    loss = -(log_shares * truth).sum(axis=1).mean()
    hits = np.mean(logits.argmax(axis=1) == y)
    return loss, hits, (np.exp(log_shares) - truth) / len(y)


def evaluate(network, x, y):
    """Loss and accuracy on images that are not trained on, 100 at a time."""
    logits = [network.logits(x[i : i + 100]) for i in range(0, len(x), 100)]
    loss, hits, _ = cross_entropy(np.concatenate(logits), y)
    return loss, hits


def train(folder):
    (x, y), validation, test = load(folder)
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
    return Network(np.random.default_rng(1))


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
