"""A regression from raw pixels, 0 to 255, for whatever backend Keras has."""

import keras
import numpy as np
from keras import layers


def data() -> tuple[np.ndarray, np.ndarray]:
    """Noise: images of numbers from 0 to 255, and eight numbers from -40 to 39 for each."""
    chance = np.random.default_rng(6)
    x = chance.integers(0, 256, (64, 24, 24, 3)).astype(np.float32)
    return x, chance.integers(-40, 40, (64, 8)).astype(np.float32)


def build():
    image = keras.Input((24, 24, 3))
    x = layers.Conv2D(8, 7, activation="relu")(image)
    x = layers.Conv2D(8, 7, activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D(4)(x))
    x = layers.Dense(16, activation="relu")(x)
    model = keras.Model(image, layers.Dense(8)(x))
    model.compile(keras.optimizers.Adam(), "mse")
    return model, {"data": data()}
