"""Subjects of DeepFD's benchmark, as pairs: the program that was asked about, and the repaired one.

Cao et al. 2022, "DeepFD: automated fault diagnosis and localization for deep learning programs".
The benchmark lists 58 subjects, most of them questions of Stack Overflow, with the repair and the
labels of the faults. What is here was written anew from the listed repairs: the layers, loss,
optimiser and settings that a repair names are those of the benchmark, with the names of today; the
layers that it does not name are of the same kind and smaller, and the data are random numbers of
such a form.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, optimizers
from keras.initializers import RandomNormal

SIDE = tuple[keras.Model, dict[str, Any]]
EXAMPLES = 40


def numbers(width: int, high: float = 1.0, seed: int = 0) -> np.ndarray:
    """Rows of random numbers, float32."""
    rows = np.random.default_rng(seed).uniform(0, high, (EXAMPLES, width))
    return rows.astype("float32")


def one_hot(classes: int) -> np.ndarray:
    """A class for each row, as zeros and a one."""
    drawn = np.random.default_rng(1).integers(0, classes, EXAMPLES)
    return np.eye(classes, dtype="float32")[drawn]


def trained(
    hidden: list[layers.Layer],
    loss: str,
    optimizer: Any,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int = 10,
    batch_size: int = 20,
) -> SIDE:
    """A compiled network of these layers, its data, and the arguments of its `fit`."""
    model = keras.Sequential([keras.Input(x.shape[1:]), *hidden])
    model.compile(optimizer, loss)
    return model, {"data": (x, y), "fit": {"epochs": epochs, "batch_size": batch_size}}


def q48385830(repaired: bool = False) -> SIDE:
    normal = {
        "kernel_initializer": RandomNormal(stddev=1),
        "bias_initializer": RandomNormal(stddev=1),
    }
    hidden: list[layers.Layer] = [
        layers.Dense(30, "sigmoid" if repaired else None, **normal),
        layers.Dense(10, "softmax" if repaired else None, **normal),
    ]
    loss = "categorical_crossentropy" if repaired else "mean_squared_error"
    return trained(hidden, loss, optimizers.SGD(3.0), numbers(64), one_hot(10))


def q44164749(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(16, "relu"),
        layers.Dense(10, "sigmoid" if repaired else "softmax"),
    ]
    loss = "binary_crossentropy" if repaired else "categorical_crossentropy"
    sgd = optimizers.SGD(0.05 if repaired else 0.01)
    return trained(hidden, loss, sgd, numbers(64), one_hot(10), epochs=10 if repaired else 5)


def q31556268(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(4, "sigmoid"), layers.Dense(1, "sigmoid")]
    rate = optimizers.schedules.InverseTimeDecay(0.1 if repaired else 0.05, 1, 1e-6)
    sgd = optimizers.SGD(rate, momentum=0.11, nesterov=True)
    loss = "mean_squared_error" if repaired else "mean_absolute_error"
    x = np.array([[1, 1], [1, 0], [0, 0], [0, 1]] * 10, "float32")
    y = (x[:, :1] != x[:, 1:]).astype("float32")
    return trained(hidden, loss, sgd, x, y, 10000 if repaired else 1000, 4)


def q48251943(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(8, "relu"),
        layers.Dense(1, "tanh" if repaired else "relu"),
    ]
    return trained(hidden, "mean_squared_error", "adam", numbers(6), numbers(1, seed=1))


def q33969059(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(8, "relu"),
        layers.Dense(1, "linear" if repaired else "softmax", kernel_initializer="random_uniform"),
    ]
    return trained(hidden, "mean_squared_error", "rmsprop", numbers(6), numbers(1, seed=1))


def q55328966(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(16, "sigmoid"),
        layers.Dense(10, "softmax" if repaired else "sigmoid"),
    ]
    optimizer = optimizers.Adam(0.01) if repaired else optimizers.SGD(0.01)
    x = numbers(64, 255) / (255 if repaired else 1)
    return trained(hidden, "categorical_crossentropy", optimizer, x, one_hot(10))


def q34311586(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(8, "tanh"), layers.Dense(2, "softmax")]
    rate = optimizers.schedules.InverseTimeDecay(0.001, 1, 1e-6)
    optimizer = (
        optimizers.Adam(rate) if repaired else optimizers.SGD(rate, momentum=0.9, nesterov=True)
    )
    return trained(hidden, "categorical_crossentropy", optimizer, numbers(2), one_hot(2))


def q48934338(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(8, "relu"), layers.Dense(1)]
    sgd = optimizers.SGD(0.0001 if repaired else 0.1)
    return trained(hidden, "mean_squared_error", sgd, numbers(4, 10), numbers(1, 10, 1))


def q59278771(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(4, "selu" if repaired else "relu", kernel_initializer="random_normal"),
        layers.Dense(3, "softmax" if repaired else "sigmoid", kernel_initializer="random_normal"),
    ]
    x = numbers(4, 8)
    x = (x - x.mean(0)) / x.std(0) if repaired else x
    return trained(hidden, "categorical_crossentropy", "sgd" if repaired else "adam", x, one_hot(3))


def q48221692(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [
        layers.Dense(10, "relu"),
        layers.Dense(1, "linear" if repaired else "sigmoid"),
    ]
    return trained(hidden, "mean_squared_error", "adam", numbers(5), numbers(1, 50, 1))


def q45442843(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(8, "tanh"), layers.Dense(1)]
    loss, optimizer = ("mse", "adam") if repaired else ("mean_absolute_error", "rmsprop")
    return trained(hidden, loss, optimizer, numbers(5), numbers(1, seed=1))


def q58609115(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(6, "relu"), layers.Dense(1, "sigmoid")]
    loss = "binary_crossentropy" if repaired else "categorical_crossentropy"
    return trained(hidden, loss, "adam", numbers(11), numbers(1, seed=1).round())


def q56380303(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(16, "relu"), layers.Dense(5, "softmax")]
    optimizer = optimizers.Adam(0.0001) if repaired else "sgd"
    return trained(hidden, "categorical_crossentropy", optimizer, numbers(20), one_hot(5))


def q37624102(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(16, "relu"), layers.Dense(10, "softmax")]
    rate = optimizers.schedules.InverseTimeDecay(0.01 if repaired else 0.1, 1, 1e-6)
    sgd = optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return trained(hidden, "categorical_crossentropy", sgd, numbers(32), one_hot(10))


def q37213388(repaired: bool = False) -> SIDE:
    hidden: list[layers.Layer] = [layers.Dense(16, "relu"), layers.Dense(10, "softmax")]
    epochs = 10 if repaired else 2
    return trained(
        hidden, "categorical_crossentropy", "adam", numbers(32), one_hot(10), epochs=epochs
    )


def q39217567(repaired: bool = False) -> SIDE:
    function = "relu" if repaired else "sigmoid"
    hidden: list[layers.Layer] = [
        layers.Dense(5, function, kernel_initializer="random_normal"),
        layers.Dense(5, function, kernel_initializer="random_normal"),
        layers.Dense(1, kernel_initializer="random_normal"),
    ]
    return trained(hidden, "mean_squared_error", "adam", numbers(5), numbers(1, seed=1))


def q48385830_repaired() -> SIDE:
    return q48385830(True)


def q44164749_repaired() -> SIDE:
    return q44164749(True)


def q31556268_repaired() -> SIDE:
    return q31556268(True)


def q48251943_repaired() -> SIDE:
    return q48251943(True)


def q33969059_repaired() -> SIDE:
    return q33969059(True)


def q55328966_repaired() -> SIDE:
    return q55328966(True)


def q34311586_repaired() -> SIDE:
    return q34311586(True)


def q48934338_repaired() -> SIDE:
    return q48934338(True)


def q59278771_repaired() -> SIDE:
    return q59278771(True)


def q48221692_repaired() -> SIDE:
    return q48221692(True)


def q45442843_repaired() -> SIDE:
    return q45442843(True)


def q58609115_repaired() -> SIDE:
    return q58609115(True)


def q56380303_repaired() -> SIDE:
    return q56380303(True)


def q37624102_repaired() -> SIDE:
    return q37624102(True)


def q37213388_repaired() -> SIDE:
    return q37213388(True)


def q39217567_repaired() -> SIDE:
    return q39217567(True)
