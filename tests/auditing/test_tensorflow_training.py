"""The training of low-level TensorFlow: gradients, updates, real steps."""

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


from tensorflow_networks import (
    HAND_WRITTEN,
    Binary,
    Convolutional,
    Perceptron,
    Signal,
    side,
)

from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.gradients import whole


@pytest.mark.parametrize("make", HAND_WRITTEN)
def test_loss_and_gradients_are_those_of_the_object(make: Callable[[], Any]) -> None:
    model = side(make)
    x, y = model.example(6)
    loss, gradients = model.loss_and_gradients(x, y)
    parameters = model.parameters()
    for name, gradient in gradients.items():
        assert gradient.shape == parameters[name].shape
    # A step along the gradient changes the loss by its square.
    square = sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradients.values())
    small = 1e-3 / np.sqrt(square)
    model.load({name: parameters[name] - small * gradients[name] for name in gradients})
    less = model.loss_and_gradients(x, y)[0]
    model.load(parameters)
    assert loss - less == pytest.approx(small * square, rel=0.05)
    if make not in (Convolutional, Signal):  # What is not in training mode gives the same loss.
        last = model.record(np.asarray(x, np.float32), False)[model.graph().nodes[-1].name]
        assert model.loss(last, y) == pytest.approx(loss, rel=1e-5)


def test_moving_averages_are_recorded_and_put_back() -> None:
    model = side(Convolutional)
    x = np.asarray(model.example(6)[0], np.float32)
    before, record = model.parameters(), model.record(x, training=True)
    inputs = record["first"].astype(np.float64)
    mean, variance = inputs.mean((0, 1, 2)), inputs.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(record["parameter:mean"], 0.05 * mean, rtol=1e-4)
    np.testing.assert_allclose(record["parameter:variance"], 0.95 + 0.05 * variance, rtol=1e-5)
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(value, before[name])
    dropped = record["dropout_1"][record["activation_2"] > 0]
    assert 0.2 < np.mean(dropped == 0) < 0.4


def test_updates_take_what_is_done_to_gradients_with_them() -> None:
    model = side(Perceptron)
    before = model.parameters()
    gradients = {name: np.ones_like(before[name]) for name in ("hidden", "out")}
    first, second = model.updates([gradients, {n: -g for n, g in gradients.items()}])
    for name, gradient in gradients.items():
        clipped = 0.5 * gradient / np.sqrt(gradient.size)
        np.testing.assert_allclose(first[name], before[name] - clipped, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(second[name], before[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(second["bias"], before["bias"])
    assert set(model.loss_and_gradients(*model.example(4))[1]) == {"hidden", "out"}
    assert model.optimiser() == {"kind": "sgd", "learning_rate": 0.5, "clip_norm": 1.0}


def test_steps_are_real_ones_without_dropout() -> None:
    model = side(Convolutional)
    x, y = model.example(6)
    loss, gradients = model.loss_and_gradients(x, y)
    before = model.parameters()
    losses, after = model.steps([(x, y), (x, y)])
    assert losses[0] == pytest.approx(loss, rel=1e-5)
    assert losses[1] < losses[0]
    for name, gradient in gradients.items():
        np.testing.assert_allclose(after[0][name], before[name] - 0.1 * gradient, atol=1e-5)


def test_predictions_after_steps_have_the_weights_before_them() -> None:
    model = side(Perceptron)
    x, y = model.example(6)
    before = model.parameters()
    losses, after, predicted = model.steps_then_predict([(x, y), (x, y)], whole, x, ())
    assert losses[1] < losses[0] and not np.array_equal(after[1]["out"], before["out"])
    np.testing.assert_allclose(predicted, model.outputs(x, False, 1)[0], rtol=1e-6)
    np.testing.assert_array_equal(model.parameters()["out"], before["out"])


def test_a_step_of_its_own_way_is_said_to_be_one() -> None:
    class Own(Binary):
        def step(self, x: Any, y: Any) -> None:
            self.variables[0].assign_sub(0.1 * self.variables[0])

    model = Adapter(lambda _: Own())
    with pytest.raises(NotImplementedError, match="a way of its own"):
        model.updates([{"variable_0": np.zeros((6, 8), np.float32)}])
    assert len(model.loss_and_gradients(*model.example(4))[1]) == 4
