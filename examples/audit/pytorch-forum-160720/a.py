"""A small regression in Keras: a sum of sines of ten numbers."""

import keras
import numpy as np
from keras import layers


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    return x, np.sin(x).sum(axis=1)


def build():
    model = keras.Sequential(
        [keras.Input((10,)), layers.Dense(30, activation="tanh"), layers.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model, {"data": data()}
