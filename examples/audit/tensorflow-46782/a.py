"""One dense layer that learns y = 0.1 (x1 + x2 + x3 + x4), by `fit`."""

import keras
import numpy as np


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(size=(64, 4)).astype(np.float32)
    return x, 0.1 * x.sum(axis=1)


def build():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, {"data": data()}
