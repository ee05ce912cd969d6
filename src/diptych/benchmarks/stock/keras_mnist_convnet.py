"""Keras' example "Simple MNIST convnet": two convolutions, dropout, fifteen epochs of ``fit``.

Source: keras.io/examples/vision/mnist_convnet, which describes 32 and 64 filters of 3×3, each with
max pooling, half of the features dropped before the softmax, Adam, batches of 128, 15 epochs, and a
tenth of the training images held out for validation. The validations are not timed.
"""

# The stubs want a word where `fit` takes a number as well.
# pyright: reportArgumentType=false

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from diptych.benchmarks.stock.keras import Timed, predictor
from diptych.benchmarks.stopwatch import Stopwatch


def build() -> keras.Sequential:
    """The example's network, compiled."""
    model = keras.Sequential()
    model.add(layers.Input((28, 28, 1)))
    for filters in (32, 64):
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    keras.utils.set_random_seed(seed)
    clock.start()
    x = images.astype("float32") / 255
    y = keras.utils.to_categorical(labels, 10)
    model = build()
    model.fit(
        x, y, batch_size=128, epochs=length, validation_split=0.1, verbose=0,
        callbacks=[Timed(clock)],
    )  # fmt: skip
    return predictor(model)
