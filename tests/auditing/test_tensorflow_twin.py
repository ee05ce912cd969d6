"""Low-level TensorFlow in float64, against its own float32, finite differences and PyTorch."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import os
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.frameworks.tensorflow.widening import exact_numbers
from diptych.auditing.graph import Arrays

CLASSES = 3


def variable(seed: int, *shape: int) -> tf.Variable:
    return tf.Variable(np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32))


class Network:
    """A convolution, a batch normalisation with averages, a dense layer; SGD with momentum."""

    input_shape: ClassVar = [6, 6, 2]

    def __init__(self) -> None:
        self.variables = {
            "kernel": variable(0, 3, 3, 2, 4),
            "gamma": tf.Variable(tf.ones(4)),
            "beta": variable(1, 4),
            "mean": tf.Variable(tf.zeros(4), trainable=False),
            "variance": tf.Variable(tf.ones(4), trainable=False),
            "dense": variable(2, 144, CLASSES),
        }
        self.trained = {n: v for n, v in self.variables.items() if v.trainable}
        self.slots = {n: tf.Variable(tf.zeros_like(v)) for n, v in self.trained.items()}
        self.rate = tf.Variable(0.05)

    def forward(self, x: Any, training: bool) -> Any:
        v = self.variables
        x = tf.nn.conv2d(x, v["kernel"], 1, "SAME")
        if training:
            x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x, v["gamma"], v["beta"], epsilon=1e-3
            )
            v["mean"].assign(0.9 * v["mean"] + 0.1 * mean)
            v["variance"].assign(0.9 * v["variance"] + 0.1 * variance)
        else:
            x, *_ = tf.compat.v1.nn.fused_batch_norm(
                *(x, v["gamma"], v["beta"], v["mean"], v["variance"]),
                epsilon=1e-3,
                is_training=False,
            )
        x = tf.nn.leaky_relu(x, 0.1)
        if training:
            x = tf.nn.dropout(x, 0.25)
        return tf.reshape(x, [tf.shape(x)[0], -1]) @ v["dense"]

    def logits(self, x: Any) -> Any:
        return self.forward(x, training=False)

    @tf.function
    def loss(self, x: Any, y: Any) -> Any:
        logits = self.forward(x, training=True)
        penalty = 1e-3 * tf.nn.l2_loss(self.variables["dense"])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)) + penalty

    @tf.function
    def step(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        for name, gradient in tape.gradient(loss, self.trained).items():
            if gradient is None:
                continue
            slot = self.slots[name]
            slot.assign(0.9 * slot + gradient)
            self.trained[name].assign_sub(self.rate * slot)
        return loss


class Recurrent:
    """One layer again and again, a function with a gradient of its own, a Keras optimiser."""

    input_shape: ClassVar = [5, 3]

    def __init__(self) -> None:
        self.variables = [variable(3, 3, 4), variable(4, 4, 4), variable(5, 4, 1)]
        self.optimizer = tf.keras.optimizers.AdamW(
            tf.keras.optimizers.schedules.CosineDecay(0.01, 100), weight_decay=0.03
        )

    @tf.function
    def loss(self, x: Any, y: Any) -> Any:
        first, second, out = self.variables
        state = tf.zeros([tf.shape(x)[0], 4])
        for place in range(5):
            state = tf.nn.silu(x[:, place] @ first + state @ second)
        return tf.reduce_mean(tf.square(state @ out - y))

    def step(self, x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        gradients = tape.gradient(loss, self.variables)
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))


class Coarse(Network):
    """Computes in bfloat16."""

    def forward(self, x: Any, training: bool) -> Any:
        del training
        v = self.variables
        x = tf.nn.conv2d(tf.cast(x, tf.bfloat16), tf.cast(v["kernel"], tf.bfloat16), 1, "SAME")
        x = tf.reshape(tf.nn.relu(x), [tf.shape(x)[0], -1])
        return tf.cast(x @ tf.cast(v["dense"], tf.bfloat16), tf.float32)


@cache
def pair(make: Callable[[], Any]) -> tuple[Adapter, Adapter]:
    side = Adapter(lambda _: make())
    return side, side.twin()


def far(a: Arrays, b: Arrays) -> float:
    """The largest difference between arrays, in shares of the largest number of each."""
    assert a.keys() == b.keys()
    return max(float(np.max(np.abs(a[n] - b[n])) / max(1e-3, np.max(np.abs(b[n])))) for n in b)


@pytest.mark.parametrize("make", [Network, Recurrent])
def test_a_twin_is_the_side_apart_from_rounding(make: Callable[[], Any]) -> None:
    side, twin = pair(make)
    x, y = (np.asarray(values) for values in side.example(7))
    before = side.parameters()
    assert twin.framework.endswith("in float64")
    assert {value.dtype for value in twin.parameters().values()} == {np.dtype(np.float64)}
    assert far(twin.parameters(), before) == 0
    assert far(side.record(x, False), twin.record(x, False)) < 3e-6
    loss, gradients = side.loss_and_gradients(x, y)
    exact, exact_gradients = twin.loss_and_gradients(x, y)
    assert loss == pytest.approx(exact, rel=1e-6)
    assert far(gradients, exact_gradients) < 3e-6
    for ours, theirs in zip(
        side.updates([gradients] * 3), twin.updates([exact_gradients] * 3), strict=True
    ):
        assert far(ours, theirs) < 3e-6
    losses, parameters = side.steps([(x, y)] * 3)
    exact_losses, exact_parameters = twin.steps([(x, y)] * 3)
    np.testing.assert_allclose(losses, exact_losses, rtol=3e-6)
    assert far(parameters[-1], exact_parameters[-1]) < 1e-5
    assert {value.dtype for value in exact_parameters[-1].values()} == {np.dtype(np.float64)}
    assert far(side.parameters(), before) == 0  # Neither has taken a step.
    assert {value.dtype for value in side.parameters().values()} == {np.dtype(np.float32)}
    assert far(twin.parameters(), before) == 0


@pytest.mark.parametrize("make", [Network, Recurrent, Coarse])
def test_gradients_of_a_twin_are_finite_differences(make: Callable[[], Any]) -> None:
    _, twin = pair(make)
    x, y = twin.example(5)
    before, chance = twin.parameters(), np.random.default_rng(5)
    _, gradients = twin.loss_and_gradients(x, y)
    assert gradients
    for name, gradient in gradients.items():
        way, small = chance.normal(size=gradient.shape), 1e-6
        losses = []
        for side in (small, -small):
            twin.load(before | {name: before[name] + side * way})
            losses.append(twin.loss_and_gradients(x, y)[0])
        twin.load(before)
        slope = (losses[0] - losses[1]) / (2 * small)
        assert slope == pytest.approx(float(np.sum(gradient * way)), abs=1e-7)


def test_ten_steps_are_those_of_pytorch_in_float64() -> None:
    torch = pytest.importorskip("torch")
    _, twin = pair(Network)
    chance = np.random.default_rng(1)
    batches = [
        (chance.normal(size=(8, 6, 6, 2)), chance.integers(0, CLASSES, 8)) for _ in range(10)
    ]
    losses, parameters = twin.steps(batches)

    w = {name: torch.tensor(value) for name, value in twin.parameters().items()}
    trained = [w[name].requires_grad_() for name in ("kernel", "gamma", "beta", "dense")]
    optimizer = torch.optim.SGD(trained, 0.05, momentum=0.9)
    for (x, y), loss, after in zip(batches, losses, parameters, strict=True):
        z = torch.nn.functional.conv2d(
            torch.tensor(x).permute(0, 3, 1, 2), w["kernel"].permute(3, 2, 0, 1), padding=1
        )
        z = torch.nn.functional.batch_norm(
            *(z, w["mean"], w["variance"], w["gamma"], w["beta"]), training=True, eps=1e-3
        )
        z = torch.nn.functional.leaky_relu(z, 0.1).permute(0, 2, 3, 1).flatten(1) @ w["dense"]
        expected = torch.nn.functional.cross_entropy(z, torch.tensor(y))
        expected = expected + 1e-3 * 0.5 * (w["dense"] ** 2).sum()
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        assert loss == pytest.approx(expected.item(), abs=1e-12)
        for name, value in after.items():
            np.testing.assert_allclose(value, w[name].detach().numpy(), rtol=0, atol=1e-9)


def test_the_twin_of_bfloat16_is_what_it_means() -> None:
    side, twin = pair(Coarse)
    x, _ = side.example(4)
    v = twin.parameters()
    exact = tf.nn.relu(tf.nn.conv2d(x, v["kernel"], 1, "SAME")).numpy().reshape(4, -1) @ v["dense"]
    np.testing.assert_allclose(twin.outputs(x, False, 1)[0], exact, rtol=1e-12)
    assert np.max(np.abs(side.outputs(x, False, 1)[0] - exact)) > 1e-4


def test_twins_of_batch_normalisation_in_inference_and_its_gradient() -> None:
    class Frozen(Network):
        @tf.function
        def loss(self, x: Any, y: Any) -> Any:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.forward(x, False))
            return tf.reduce_mean(losses)

    side = Adapter(lambda _: Frozen())
    side.load({"mean": np.full(4, 0.3), "variance": np.full(4, 2.5)})
    twin = side.twin()
    x, y = side.example(5)
    ours, exact = side.loss_and_gradients(x, y), twin.loss_and_gradients(x, y)
    assert ours[0] == pytest.approx(exact[0], rel=1e-6)
    assert far(ours[1], exact[1]) < 3e-6


def test_numbers_are_those_that_were_written() -> None:
    values = np.array([0.1, 1 / 255, 0.9, 1e-7, -2.5, 3.0, np.inf], np.float32)
    expected = [0.1, 1 / 255, 0.9, 1e-7, -2.5, 3.0, np.inf]
    assert exact_numbers(values).tolist() == expected
    computed = np.float32(np.pi)
    assert exact_numbers(computed).tolist() == float(computed)

    class Scaled(Network):
        def logits(self, x: Any) -> Any:
            x = x * np.pi * tf.constant([[[[1 / 3, 0.7]]]]) - np.float32(0.1)
            return tf.reshape(x, [-1, 72]) @ self.variables["dense"][:72]

        def loss(self, x: Any, y: Any) -> Any:
            logits = self.logits(x)
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    twin = Adapter(lambda _: Scaled()).twin()
    x, _ = twin.example(3)
    scaled = x * np.pi * np.array([1 / 3, 0.7]) - 0.1
    exact = scaled.reshape(3, -1) @ twin.parameters()["dense"][:72]
    np.testing.assert_allclose(twin.outputs(x, False, 1)[0], exact, rtol=1e-13)


def python_inside(x: Any) -> Any:
    return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape)


def resized(x: Any) -> Any:
    return tf.image.resize(x, [6, 6], "bicubic")


def bits(x: Any) -> Any:
    return tf.bitcast(tf.bitcast(x, tf.int32), tf.float32)


@pytest.mark.parametrize(
    ("piece", "reason"),
    [(python_inside, "Python from its graph"), (resized, "ResizeBicubic"), (bits, "bits")],
)
def test_what_is_float32_alone_is_named(piece: Callable[[Any], Any], reason: str) -> None:
    class Stuck(Network):
        def forward(self, x: Any, training: bool) -> Any:
            return super().forward(piece(x), training)

    with pytest.raises(NotImplementedError, match=reason):
        Adapter(lambda _: Stuck()).twin()


def test_a_step_that_cannot_be_traced_leaves_the_rest() -> None:
    class Eager(Network):
        def step(self, x: Any, y: Any) -> Any:
            return float(super().step(x, y).numpy())

    side = Adapter(lambda _: Eager())
    twin = side.twin()
    x, y = side.example(4)
    assert len(twin.loss_and_gradients(x, y)[1]) == 4
    assert len(side.steps([(x, y)])[0]) == 1
    with pytest.raises(NotImplementedError, match="numpy"):
        twin.steps([(x, y)])


# Whole functions.


def test_outputs_are_what_the_user_calls() -> None:
    side, twin = pair(Network)
    x, _ = side.example(16)
    given = Network()
    expected = given.logits(tf.cast(x, tf.float32)).numpy()
    for model in (side, twin):
        predicted = model.outputs(x, training=False, runs=2)
        assert predicted.shape == (2, 16, CLASSES)
        np.testing.assert_allclose(predicted[1], expected, rtol=1e-5, atol=1e-6)
        trained = model.outputs(x, training=True, runs=3)
        assert trained.shape == (3, 16, CLASSES)
        assert np.min(np.std(trained, axis=0).mean(axis=1)) > 1e-3  # Dropout is drawn anew.
    assert twin.outputs(x, False, 1).dtype == np.float64


def test_outputs_in_training_have_the_random_numbers_of_following_steps() -> None:
    class Counted(Network):
        def __init__(self) -> None:
            super().__init__()
            self.number = tf.Variable(4)

        def forward(self, x: Any, training: bool) -> Any:
            if training:
                x = tf.nn.experimental.stateless_dropout(x, 0.5, [1, self.number])
            return tf.reshape(x, [-1, 72]) @ self.variables["dense"][:72]

    side = Adapter(lambda _: Counted())
    x = np.asarray(side.example(2)[0], np.float32)
    dense = side.parameters()["dense"][:72]
    targets = side.example(2)[1]
    for model, tolerance in ((side, 1e-5), (side.twin(), 1e-12)):
        model.loss_and_gradients(x, targets)  # Without dropout, nothing reads the counter.
        for numbers in ((4, 5), (6, 7)):  # The second call goes on; the counter is put back.
            outputs, dtype = model.outputs(x, True, 2), model.parameters()["dense"].dtype
            for output, number in zip(outputs, numbers, strict=True):
                seen = tf.nn.experimental.stateless_dropout(x.astype(dtype), 0.5, [1, number])
                expected = seen.numpy().reshape(2, 72) @ dense.astype(dtype)
                np.testing.assert_allclose(output, expected, rtol=tolerance, atol=tolerance)


def test_rates_and_horizon_are_those_of_a_schedule() -> None:
    side, twin = pair(Recurrent)
    for model in (side, twin):
        assert model.horizon() == {"steps": 100, "source": "decay_steps of CosineDecay"}
        rates = model.rates(1000)
        assert [step for step, _ in rates] == list(range(101))
        expected = [0.005 * (1 + np.cos(np.pi * step / 100)) for step in range(101)]
        np.testing.assert_allclose([rate for _, (rate,) in rates], expected, atol=1e-9)

    class Constant(Recurrent):
        steps, epochs, settings = 500, 3, {"callbacks": "EarlyStopping(patience=2)"}

        def __init__(self) -> None:
            super().__init__()
            self.optimizer = tf.keras.optimizers.SGD(0.001)

    constant = Adapter(lambda _: Constant())
    assert constant.rates(10_000) == [(0, [0.001])]
    assert constant.horizon() == {"steps": 500, "source": "steps"}
    assert constant.settings() == {"epochs": "3", "callbacks": "EarlyStopping(patience=2)"}
    with pytest.raises(NotImplementedError, match="rates"):
        pair(Network)[0].rates(10)
    assert pair(Network)[0].horizon() == {"steps": None, "source": ""}


def test_batches_of_given_examples() -> None:
    class Batched(Network):
        def batches(self, x: Any, y: Any) -> Any:
            return ((x[i : i + 4] * 2, y[i : i + 4]) for i in range(0, len(x), 4))

    side = Adapter(lambda _: Batched())
    x, y = np.random.default_rng(0).normal(size=(10, 6, 6, 2)), np.arange(10) % CLASSES
    epochs = side.batches_of(x, y, 2)
    assert (
        epochs is not None and [[len(b) for _, b in epoch] for epoch in epochs] == [[4, 4, 2]] * 2
    )
    np.testing.assert_array_equal(np.concatenate([part for part, _ in epochs[1]]), 2 * x)
    assert pair(Network)[0].batches_of(x, y, 1) is None
