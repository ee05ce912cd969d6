"""Stock Keras: ``Sequential``, ``compile``, ``fit`` on an array of float32."""

# The stubs want a word where `fit` takes a number as well.
# pyright: reportArgumentType=false

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from diptych.benchmarks.stopwatch import Stopwatch
from diptych.data import load_data
from diptych.worker import Arrays


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


class Ended(keras.callbacks.Callback):
    """Notes when the last batch has been trained on.

    `fit` may return much later: giving up its input waits for tf.data's autotuning, which sleeps
    for 10 ms, 20 ms and so on, at last for as long again as the epoch has taken.
    """

    at = 0.0

    def on_train_end(self, logs: Any = None) -> None:
        self.at = time.perf_counter()


class Timed(keras.callbacks.Callback):
    """Stops a clock during validations and after the last batch."""

    def __init__(self, clock: Stopwatch) -> None:
        super().__init__()
        self.clock = clock

    def on_test_begin(self, logs: Any = None) -> None:
        self.clock.stop()

    def on_test_end(self, logs: Any = None) -> None:
        self.clock.start()

    def on_train_end(self, logs: Any = None) -> None:
        self.clock.stop()


def predictor(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images (n, 28, 28, 1) to predicted labels."""

    def predict(images: np.ndarray) -> np.ndarray:
        return np.argmax(model.predict(images.astype("float32") / 255, verbose=0), axis=1)

    return predict


def timed_fit(model: keras.Model, *data: Any, **options: Any) -> tuple[float, float]:
    """Seconds of `fit` up to its last batch, and from there until it returns."""
    start, ended = time.perf_counter(), Ended()
    model.fit(*data, verbose=0, callbacks=[ended], **options)
    return ended.at - start, time.perf_counter() - ended.at


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    model = build()
    x = images.astype("float32") / 255
    first = warm_up * batch_size
    model.fit(x[:first], labels[:first], batch_size=batch_size, verbose=0)
    seconds, _ = timed_fit(model, x[first:], labels[first:], batch_size=batch_size)
    return seconds / -(-len(x[first:]) // batch_size)


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    """The article's training: so many epochs of `fit` in batches of 50, not validated."""
    keras.utils.set_random_seed(seed)
    clock.start()
    model = build()
    x = images.astype("float32") / 255
    model.fit(x, labels, batch_size=50, epochs=length, verbose=0, callbacks=[Timed(clock)])
    return predictor(model)


def training_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: an epoch of MNIST in batches of 50, as the article trains.

    Returns:
        ``train_seconds`` of `fit` up to its last batch, ``wait_seconds`` from there until it
        returns, and ``start_seconds`` of one batch before it, in which Keras builds its graph.
    """
    keras.utils.set_random_seed(parameters["seed"])
    data = load_data("mnist")
    x_train = data.train.images.astype("float32") / 255
    model = build()
    start = time.perf_counter()
    model.fit(x_train[:50], data.train.labels[:50], batch_size=50, verbose=0)
    start_seconds = time.perf_counter() - start
    seconds, waited = timed_fit(model, x_train, data.train.labels, batch_size=50)
    return {"start_seconds": start_seconds, "train_seconds": seconds, "wait_seconds": waited}, {}
