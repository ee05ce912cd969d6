"""What a user's object may say, and what is wrong with others."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf
from tensorflow_networks import (
    Convolutional,
    Perceptron,
    Sequence,
    node,
    side,
    variable,
)

from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.errors import InputError


def test_extras_say_what_goes_in() -> None:
    class Given(Perceptron):
        data = (np.ones((20, 784), np.float64), np.arange(20, dtype=np.int32) % 10)

        def loss(self, x: Any, y: Any) -> Any:
            return super().loss(tf.cast(x, tf.float32) / 255, y)

        def batches(self, x: np.ndarray, y: np.ndarray) -> Any:
            return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)

    model = Adapter(lambda _: Given())
    assert model.prepares
    x, y = model.prepare(np.zeros((7, 28, 28, 1), np.uint8), np.zeros(7, np.int64))
    assert x.shape == (7, 784)
    assert y.tolist() == (rows_of(20, 7) % 10).tolist()
    assert node(model, "rescale_1").attributes["scale"] == pytest.approx(1 / 255, rel=1e-6)
    epoch, again = model.batches(20, 2) or []
    assert [len(y) for _, y in epoch] == [8, 8, 4]
    np.testing.assert_array_equal(epoch[1][0][:, 0], np.arange(8, 16))
    np.testing.assert_array_equal(epoch[1][1], again[1][1])


def test_without_extras_inputs_are_images_in_unit_range() -> None:
    model = side(Perceptron)
    images = np.full((3, 28, 28, 1), 255, np.uint8)
    x, y = model.prepare(images, np.array([1, 2, 3]))
    assert not model.prepares
    assert x.shape == (3, 784)
    assert x.dtype == np.float32
    assert x.max() == pytest.approx(1)
    assert y.tolist() == [1, 2, 3]
    assert model.batches(10, 1) is None
    one_hot = side(Convolutional).prepare(images, np.array([1, 2, 3]))[1]
    np.testing.assert_array_equal(one_hot, np.eye(10)[[1, 2, 3]])
    with pytest.raises(InputError, match="prepare"):
        side(Sequence).prepare(images, np.array([1, 2, 3]))


HIDDEN = variable(784, 2, name="hidden")


def wrong(**changes: Any) -> Any:
    made = Perceptron()
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 3, "int without 'variables'"),
        (lambda: type("Half", (), {"variables": [], "loss": 0})(), "without 'step'"),
        (lambda: wrong(variables=3), "variables is a int"),
        (lambda: wrong(variables=[3.0]), "expected tf.Variable"),
        (lambda: wrong(loss=lambda x, y: x[:, 0]), "expected a scalar"),
        (lambda: wrong(loss=lambda x, y: (x, y)), "returns a tuple"),
        (lambda: wrong(loss=lambda x, y: tf.constant(0.0)), "does not depend on x"),
        (lambda: wrong(loss=lambda x, y: x @ tf.ones([3, 3])), "give it data"),
        (lambda: wrong(variables=[]), "variables is empty"),
        (lambda: wrong(loss=lambda x, y: tf.reduce_sum(x @ HIDDEN)), "hidden.* not among its"),
    ],
)
def test_what_is_no_model_is_said_in_a_line(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Adapter(lambda _: make())
