"""Trained by `fit`, which shuffles all examples before every epoch."""

import keras
import numpy as np
from keras import layers

SIDE = 16


def data() -> tuple[np.ndarray, np.ndarray]:
    """A picture as examples: rows and columns, one after the other, and the brightness there."""
    rows, columns = np.divmod(np.arange(SIDE * SIDE), SIDE)
    x = np.stack([rows, columns], axis=1).astype(np.float32) / SIDE
    return x, np.sin(6 * x[:, :1]) * np.cos(6 * x[:, 1:])


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(16, activation="tanh", name="hidden"),
            layers.Dense(1, name="output"),
        ],
        name="network",  # Names of one's own, which are the same in every build.
    )


def build():
    model = network()
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model, {"data": data(), "fit": {"batch_size": 32}}
