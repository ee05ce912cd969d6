"""Losses, gradients and steps of Keras models."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras_sides import numbers, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.gradients import whole


@pytest.fixture
def seeded() -> Iterator[None]:
    """The same numbers in every run; afterwards, as if nobody had set a seed."""
    keras.utils.set_random_seed(0)
    yield
    tf.random.set_seed(None)


@pytest.mark.usefixtures("seeded")
def test_gradients_are_those_of_the_loss_with_its_penalties_and_without_dropout() -> None:
    model = side(
        keras.Input((4,)),
        lambda: layers.Dense(5, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.1)),
        lambda: layers.BatchNormalization(name="norm"),
        lambda: layers.Dropout(0.5),
        lambda: layers.Dense(3, name="out"),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    assert model.targets == "classes"
    x, y, before = numbers(7, 4), np.arange(7) % 3, model.parameters()
    _, gradients = model.loss_and_gradients(x, y)
    unchanged(model, before)
    assert gradients.keys() == {name for name in before if not name.startswith("norm/moving")}
    for name in ("out/kernel", "norm/gamma", next(iter(gradients))):
        direction = numbers(*before[name].shape)
        ends = []
        for step in (1e-3, -1e-3):
            model.load({name: before[name] + step * direction})
            ends.append(model.loss_and_gradients(x, y)[0])
        model.load({name: before[name]})
        slope = (ends[0] - ends[1]) / 2e-3
        assert slope == pytest.approx(
            float(np.sum(gradients[name] * direction)), rel=0.01, abs=1e-3
        )
    outputs = model.record(x, training=False)["out"]
    shifted = outputs - outputs.max(-1, keepdims=True)
    chosen = np.take_along_axis(shifted, y[:, None], 1)[:, 0]
    entropy = np.mean(np.log(np.exp(shifted).sum(-1)) - chosen)
    kernel = before[next(iter(before))]
    assert model.loss(outputs, y) == pytest.approx(entropy + 0.1 * np.sum(kernel**2), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [
        ("categorical_crossentropy", 3, "one_hot"),
        (keras.losses.CategoricalCrossentropy(), 3, "one_hot"),
        ("sparse_categorical_crossentropy", 3, "classes"),
        ("binary_crossentropy", 1, "binary"),
        (keras.losses.BinaryCrossentropy(from_logits=True), 3, "one_hot"),
        (keras.losses.MeanSquaredError(), 3, "values"),
        ("mae", 1, "values"),
        (lambda y, z: keras.ops.mean(z), 3, "classes"),
        (lambda y, z: keras.ops.mean(z), 1, "values"),
    ],
)
def test_the_loss_says_what_its_targets_are(loss: Any, units: int, targets: str) -> None:
    assert side(keras.Input((2,)), lambda: layers.Dense(units), loss=loss).targets == targets


def test_saturated_probabilities_have_no_logits_and_no_loss() -> None:
    outputs = np.array([[0.25], [1.0]], np.float32)
    model = side(keras.Input((2,)), lambda: layers.Dense(1, "sigmoid"), loss="binary_crossentropy")
    assert model.loss(outputs[:1], np.ones((1, 1))) == pytest.approx(np.log(4), rel=1e-5)
    with pytest.raises(NotImplementedError, match="have no logits"):
        model.loss(outputs, np.zeros((2, 1)))
    model = side(keras.Input((2,)), lambda: layers.Dense(1, "sigmoid"), loss="mse")
    assert model.loss(outputs, np.zeros((2, 1))) == pytest.approx((0.25**2 + 1) / 2)


@pytest.mark.parametrize(
    ("y", "targets"),
    [
        (np.arange(8) % 3, "classes"),
        (np.arange(8.0)[:, None] % 3, "classes"),
        (np.eye(3, dtype=np.float32)[np.arange(8) % 3], "own"),
        (np.arange(16).reshape(8, 2) % 3, "own"),
        (numbers(8, 3), "values"),
        (numbers(8, 2), "own"),
    ],
)
def test_targets_of_an_unknown_loss_are_told_by_the_data(y: np.ndarray, targets: str) -> None:
    def loss(y: Any, z: Any) -> Any:
        return keras.ops.mean(z) + 0 * keras.ops.mean(keras.ops.cast(y, z.dtype))

    parts = keras.Input((2,)), lambda: layers.Dense(3)
    assert side(*parts, loss=loss, data=(numbers(8, 2), y)).targets == targets


def test_class_weights_count() -> None:
    def model(**fit: Any) -> Adapter:
        return side(
            keras.Input((2,)),
            lambda: layers.Dense(2, kernel_initializer="ones", name="out"),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            fit=fit,
        )

    x, y = numbers(4, 2), np.array([0, 1, 1, 0])
    plain, weighted = model(), model(class_weight={0: 3.0, 1: 3.0})
    outputs = plain.record(x, training=False)["out"]
    assert weighted.loss(outputs, y) == pytest.approx(3 * plain.loss(outputs, y))
    assert weighted.loss_and_gradients(x, y)[0] == pytest.approx(3 * plain.loss(outputs, y))


# Updates.


def test_updates_clip_and_then_constrain() -> None:
    model = side(
        keras.Input((2,)),
        lambda: layers.Dense(
            1, name="out", kernel_constraint=keras.constraints.NonNeg(), kernel_initializer="ones"
        ),
        optimizer=lambda: keras.optimizers.SGD(1.0, clipnorm=0.5, momentum=0.5),
    )
    before = model.parameters()
    gradient = {"out/kernel": np.array([[3.0], [4.0]], np.float32)}
    first, second = model.updates([gradient, gradient])
    np.testing.assert_allclose(first["out/kernel"], [[0.7], [0.6]], rtol=1e-6)
    # The second step is 0.5 of the first and once more the same: 1.5 * (0.3, 0.4).
    np.testing.assert_allclose(second["out/kernel"], [[0.25], [0.0]], atol=1e-6)
    np.testing.assert_array_equal(second["out/bias"], [0])
    unchanged(model, before)
    np.testing.assert_array_equal(model.updates([gradient])[0]["out/kernel"], first["out/kernel"])


def test_updates_follow_a_schedule_of_the_users_own() -> None:
    class Halving(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return 0.5 / (1.0 + keras.ops.cast(step, "float32"))

    model = side(
        keras.Input((1,)),
        lambda: layers.Dense(1, name="out", use_bias=False, kernel_initializer="ones"),
        optimizer=lambda: keras.optimizers.SGD(Halving()),
    )
    assert model.optimiser()["schedule"] == "Halving"
    assert model.optimiser()["learning_rate"] == 0.5
    gradient = {"out/kernel": np.ones((1, 1), np.float32)}
    after = [each["out/kernel"].item() for each in model.updates([gradient] * 2)]
    assert after == pytest.approx([0.5, 0.25])


def test_what_an_optimiser_says_of_itself() -> None:
    def made() -> keras.optimizers.Optimizer:
        return keras.optimizers.AdamW(
            0.01, weight_decay=0.1, beta_2=0.99, epsilon=1e-8, global_clipnorm=2.0
        )

    assert side(keras.Input((1,)), lambda: layers.Dense(1), optimizer=made).optimiser() == {
        "kind": "adamw",
        "learning_rate": pytest.approx(0.01),
        "beta_1": 0.9,
        "beta_2": 0.99,
        "epsilon": 1e-8,
        "weight_decay": 0.1,
        "clip_global_norm": 2.0,
    }


def test_steps_are_those_of_the_gradients_and_report_each_batchs_own_loss() -> None:
    model = side(
        keras.Input((3,)),
        lambda: layers.Dropout(0.5),
        lambda: layers.Dense(2, name="out"),
        optimizer=lambda: keras.optimizers.Adam(0.1),
    )
    before = model.parameters()
    batches = [(numbers(4, 3), numbers(4, 2)), (numbers(2, 3), numbers(2, 2))]
    losses, after = model.steps(batches)
    unchanged(model, before)
    expected = []
    gradients = []
    for (x, y), left in zip(batches, [before, after[0]], strict=True):
        model.load(left)
        loss, gradient = model.loss_and_gradients(x, y)
        expected.append(loss)
        gradients.append(gradient)
    assert losses == pytest.approx(expected, rel=1e-5)
    model.load(before)
    updated = model.updates(gradients)
    for name in before:
        np.testing.assert_allclose(after[1][name], updated[1][name], rtol=1e-5, atol=1e-6)
    again, _ = model.steps(batches)
    assert again == losses


def test_random_numbers_of_the_users_layers_are_those_of_the_seed() -> None:
    class Noisy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator()

        def call(self, x: Any, training: bool = False) -> Any:
            return x + keras.random.uniform(keras.ops.shape(x), seed=self.seeds) if training else x

    model = side(keras.Input((4,)), Noisy, Noisy, lambda: layers.Dense(1, name="out"))
    x, y = numbers(7, 4), numbers(7, 1)
    gradients = []
    for seed in (1, 2, 1):
        model.seed(seed)
        gradients.append(model.loss_and_gradients(x, y)[1]["out/kernel"])
    assert not np.array_equal(gradients[0], gradients[1])
    np.testing.assert_array_equal(gradients[0], gradients[2])


def test_code_of_the_users_is_known_in_graphs() -> None:
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    class OwnOptimiser(keras.optimizers.SGD):
        pass

    plain = side(keras.Input((4,)), lambda: layers.Dense(1))
    assert plain.own_code() == {"steps": False, "updates": False}
    layer = side(keras.Input((4,)), Own, lambda: layers.Dense(1))
    assert layer.own_code() == {"steps": True, "updates": False}
    loss = side(keras.Input((4,)), lambda: layers.Dense(1), loss=lambda y, z: abs(y - z))
    assert loss.own_code() == {"steps": True, "updates": False}
    optimiser = side(keras.Input((4,)), lambda: layers.Dense(1), optimizer=OwnOptimiser)
    assert optimiser.own_code() == {"steps": True, "updates": True}


def test_dropout_stays_on_where_draws_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    model = side(
        keras.Input((4,)),
        lambda: layers.Dense(8, activation="relu"),
        lambda: layers.Dropout(0.5),
        lambda: layers.Dense(3, name="out"),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, y, before = numbers(7, 4), np.arange(7) % 3, model.parameters()
    one, other = (model.drawn_gradients(x, y)[1]["out/kernel"] for _ in range(2))
    assert not np.array_equal(one, other)
    first, second, again = model.later_outputs([(x, y)] * 2, x, y, [1, 2, 1])
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    seeds = []
    original = keras.utils.set_random_seed
    monkeypatch.setattr(
        keras.utils, "set_random_seed", lambda seed: (seeds.append(seed), original(seed))
    )
    model.draw_anew(7)
    seventh = model.drawn_gradients(x, y)[1]["out/kernel"]
    model.draw_anew(8)
    eighth = model.drawn_gradients(x, y)[1]["out/kernel"]
    assert len(seeds) == 1 and not np.array_equal(seventh, eighth)
    model.seed(7)
    assert np.array_equal(seventh, model.drawn_gradients(x, y)[1]["out/kernel"])
    model.draw_anew(8)  # Another seed came in between.
    assert len(seeds) == 3
    losses, after, predicted = model.steps_then_predict([(x, y)] * 2, whole, x, ())
    assert len(losses) == 2 and not np.array_equal(after[1]["out/kernel"], before["out/kernel"])
    np.testing.assert_allclose(predicted, model.outputs(x, False, 1)[0], rtol=1e-5, atol=1e-6)
    unchanged(model, before)
