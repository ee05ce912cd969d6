"""An LSTM that goes on with a sine wave, for whatever backend Keras has."""

import keras
import numpy as np
from keras import layers

STEPS = 20


def data() -> tuple[np.ndarray, np.ndarray]:
    """Windows of a sine wave, (64, STEPS, 1), and the number that follows each."""
    wave = np.sin(np.arange(64 + STEPS) / 5).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(wave, STEPS + 1)
    return windows[:, :-1, None].copy(), windows[:, -1:].copy()


def build():
    wave = keras.Input((STEPS, 1))
    model = keras.Model(wave, layers.Dense(1)(layers.LSTM(8)(wave)))
    model.compile(keras.optimizers.RMSprop(0.001), "mse")
    return model, {"data": data()}
