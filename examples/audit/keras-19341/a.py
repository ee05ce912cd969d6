"""Trained by `fit`: selu layers whose weights are held within a norm."""

# pyright: reportArgumentType=false

import keras
import numpy as np
from keras import layers


def build():
    bound = {
        "kernel_constraint": keras.constraints.MaxNorm(1),
        "bias_constraint": keras.constraints.MaxNorm(1),
    }
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(8, activation="selu", kernel_initializer="lecun_normal", **bound),
            layers.Dense(8, activation="selu", kernel_initializer="lecun_normal", **bound),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    chance = np.random.default_rng(0)
    x = chance.normal(size=(64, 8)).astype(np.float32)
    return model, {"data": (x, x.sum(1, keepdims=True))}
