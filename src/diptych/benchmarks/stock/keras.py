"""Stock Keras: ``Sequential``, ``compile``, ``fit`` on an array of float32."""

# The stubs want a word where `fit` takes a number as well.
# pyright: reportArgumentType=false

import time

import keras
import numpy as np
from keras import layers


def build() -> keras.Sequential:
    """The article's network, compiled."""
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    model = build()
    x = images.astype("float32") / 255
    first = warm_up * batch_size
    model.fit(x[:first], labels[:first], batch_size=batch_size, verbose=0)
    start = time.perf_counter()
    model.fit(x[first:], labels[first:], batch_size=batch_size, verbose=0)
    return (time.perf_counter() - start) / -(-len(x[first:]) // batch_size)
