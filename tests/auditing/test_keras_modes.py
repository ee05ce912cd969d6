"""Keras models in training and in prediction."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import numbers, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter


def test_batch_normalisation_in_training() -> None:
    model = side(
        keras.Input((3,)),
        lambda: layers.BatchNormalization(momentum=0.9, epsilon=0.01, name="norm"),
    )
    x = 3 + 2 * numbers(50, 3)
    before = model.parameters()
    record = model.record(x, training=True)
    mean, variance = x.mean(0), x.var(0)
    np.testing.assert_allclose(record["norm"], (x - mean) / np.sqrt(variance + 0.01), atol=1e-5)
    np.testing.assert_allclose(record["parameter:norm/moving_mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(
        record["parameter:norm/moving_variance"], 0.9 + 0.1 * variance, rtol=1e-5
    )
    assert len(record) == 3
    unchanged(model, before)
    again = model.run_node("norm", [x], training=True)
    np.testing.assert_array_equal(again, record["norm"])
    unchanged(model, before)


def test_dropout_is_on_in_training_only() -> None:
    model = side(keras.Input((1000,)), lambda: layers.Dropout(0.25, name="drop"))
    ones = np.ones((2, 1000), np.float32)
    kept = model.record(ones, training=True)["drop"]
    assert np.mean(kept == 0) == pytest.approx(0.25, abs=0.05)
    assert kept.max() == pytest.approx(1 / 0.75)
    assert model.record(ones, training=False)["drop"].min() == 1
    assert (model.run_node("drop", [ones], training=True) == 0).any()


def test_a_frozen_layer_shows() -> None:
    def build(_: int) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((3,)),
                layers.Dense(3, name="frozen", trainable=False),
                layers.BatchNormalization(name="norm", trainable=False),
                layers.Dense(2, name="out"),
            ]
        )
        model.compile("sgd", "mse")
        return model

    model, x, y = Adapter(build), numbers(6, 3), numbers(6, 2)
    training, predicting = model.record(x, training=True), model.record(x, training=False)
    np.testing.assert_array_equal(training["norm"], predicting["norm"])
    np.testing.assert_array_equal(training["parameter:norm/moving_mean"], np.zeros(3))
    assert "parameter:frozen/kernel" not in training
    _, gradients = model.loss_and_gradients(x, y)
    assert gradients.keys() == {"out/kernel", "out/bias"}
    after = model.updates([gradients])[0]
    np.testing.assert_array_equal(after["frozen/kernel"], model.parameters()["frozen/kernel"])


def test_bfloat16() -> None:
    model = side(
        keras.Input((8,)),
        lambda: layers.Dense(8, dtype="mixed_bfloat16", activation="relu", name="half"),
        lambda: layers.Dense(2, dtype="mixed_bfloat16"),
    )
    x = numbers(4, 8)
    record = model.record(x, training=True)
    assert {value.dtype for value in record.values()} == {np.dtype(np.float32)}
    exact = x @ model.parameters()["half/kernel"]
    assert 0 < np.abs(record["half"] - exact).max() < 0.1
    assert np.isfinite(model.loss_and_gradients(x, numbers(4, 2))[0])
