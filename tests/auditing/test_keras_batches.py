"""Initial weights, data and batches of Keras models."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from itertools import chain
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import numbers, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.frameworks.keras.submission import FIRST_SEED
from diptych.errors import InputError


def test_fresh_builds_differ_and_keep_the_names() -> None:
    model = side(keras.Input((3,)), lambda: layers.Dense(2))
    loaded = {name: value + 1 for name, value in model.parameters().items()}
    model.load(loaded)
    one, two = model.initial(2)
    assert one.keys() == two.keys() == loaded.keys()
    kernel = next(iter(one))
    assert not np.array_equal(one[kernel], two[kernel])
    np.testing.assert_array_equal(one[kernel], model.initial(1)[0][kernel])
    unchanged(model, loaded)


def test_preparing_images() -> None:
    images = np.arange(2 * 784, dtype=np.int64).reshape(2, 28, 28, 1).astype(np.uint8)
    labels = np.array([1, 0])
    flat = side(keras.Input((784,)), lambda: layers.Dense(2), loss="categorical_crossentropy")
    x, y = flat.prepare(images, labels)
    assert not flat.prepares
    np.testing.assert_array_equal(x, images.reshape(2, 784) * np.float32(1 / 255))
    np.testing.assert_array_equal(y, [[0, 1], [1, 0]])

    def prepare(images: np.ndarray, labels: np.ndarray) -> Any:
        return np.moveaxis(images, -1, 1) / 127.5 - 1, labels % 2

    turned = side(
        keras.Input((1, 28, 28)),
        lambda: layers.Conv2D(1, 28, data_format="channels_first"),
        prepare=prepare,
    )
    x, y = turned.prepare(images, labels)
    assert turned.prepares
    np.testing.assert_allclose(x, images / 127.5 - 1, atol=1e-6)

    small = (numbers(5, 3), np.arange(5.0))
    given = side(keras.Input((3,)), lambda: layers.Dense(1), data=small)
    np.testing.assert_array_equal(given.prepare(images, labels)[0], small[0][[0, 4]])
    with pytest.raises(InputError, match=r"takes inputs of shape \(3,\)"):
        side(keras.Input((3,)), lambda: layers.Dense(1)).prepare(images, labels)
    with pytest.raises(InputError, match="takes values"):
        side(keras.Input((784,)), lambda: layers.Dense(1)).prepare(images, labels)


def examples(batches: list[Any]) -> list[list[int]]:
    """Which examples are in which batch, by the input and by the targets."""
    for x, y in batches:
        np.testing.assert_array_equal(x[:, 0], np.reshape(y, len(y)))
    return [[int(i) for i in x[:, 0]] for x, _ in batches]


class Refusing(keras.callbacks.Callback):
    """A callback that must not be called."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        raise AssertionError


def test_batches_as_fit_makes_them() -> None:
    keras.utils.set_random_seed(FIRST_SEED)  # No user's seed, which would shuffle epochs alike.

    def epochs(**fit: Any) -> list[list[list[int]]]:
        model = side(keras.Input((2,)), lambda: layers.Dense(1), fit=fit)
        return [examples(epoch) for epoch in model.batches(10, 2) or []]

    assert epochs(batch_size=4, shuffle=False) == [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]] * 2
    assert (
        epochs(batch_size=5, shuffle=False, validation_split=0.2, callbacks=[Refusing()], epochs=9)
        == [[[0, 1, 2, 3, 4], [5, 6, 7]]] * 2
    )
    first, second = epochs(batch_size=4)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert all(sorted(chain(*epoch)) == list(range(10)) for epoch in (first, second))
    assert first != second
    assert side(keras.Input((2,)), lambda: layers.Dense(1)).batches(10, 1) is None


def test_batches_by_the_users_own_function() -> None:
    def batches(x: np.ndarray, y: np.ndarray) -> Any:
        return ((x[i : i + 4], y[i : i + 4]) for i in range(0, 8, 4))

    def endless(x: np.ndarray, y: np.ndarray) -> Any:
        while True:
            yield x, y

    model = side(
        keras.Input((2,)),
        lambda: layers.Dense(3),
        loss="sparse_categorical_crossentropy",
        batches=batches,
    )
    found = model.batches(10, 2)
    assert [examples(epoch) for epoch in found or []] == [[[0, 1, 2, 3], [4, 5, 6, 7]]] * 2
    with pytest.raises(InputError, match="does not end"):
        side(keras.Input((2,)), lambda: layers.Dense(1), batches=endless).batches(10, 1)


def test_batches_that_count_their_epochs_begin_anew_in_each_call() -> None:
    """Or what they do to the first epochs would be seen once only."""

    def build(_: int) -> Any:
        epoch = 0

        def batches(x: np.ndarray, y: np.ndarray) -> Any:
            nonlocal epoch
            epoch += 1
            return [(x * epoch, y)]

        model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model, {"batches": batches}

    model, x, y = Adapter(build), numbers(5, 3), numbers(5, 1)
    for _ in range(2):
        epochs = model.batches_of(x, y, 2)
        assert epochs is not None
        for number, epoch in enumerate(epochs, 1):
            np.testing.assert_allclose(epoch[0][0], x * number, rtol=1e-6)
