"""Keras' models of several inputs and outputs."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportOptionalOperand=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.errors import InputError

RNG = np.random.default_rng(3)
WORDS, NUMBERS = RNG.integers(0, 30, (40, 5)), RNG.normal(size=(40, 4)).astype(np.float32)
CLASSES, VALUES = RNG.integers(0, 3, 40), RNG.normal(size=(40, 1)).astype(np.float32)
NAMED = {"size": 1, "classes": 3}
"""The units of outputs, not in the order of their names."""
IMAGES = np.zeros((8, 28, 28, 1), np.uint8)
ROWS = rows_of(40, 8)
ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(two: bool) -> keras.Model:
    numbers = keras.Input((4,), name="numbers")
    words = keras.Input((5,), name="words", dtype="int32")
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(30, 6)(words))
    hidden = layers.Concatenate()([embedded, layers.Dense(6, activation="relu")(numbers)])
    classes = layers.Dense(3, name="classes")(hidden)
    if not two:
        return keras.Model({"numbers": numbers, "words": words}, classes)
    size = layers.Dense(1, name="size")(hidden)
    return keras.Model([numbers, words], {"classes": classes, "size": size})


def one(seed: int) -> Any:
    model = network(False)
    model.compile(keras.optimizers.SGD(0.1), ENTROPY)
    return model, {"data": ({"numbers": NUMBERS, "words": WORDS}, CLASSES)}


def two(seed: int) -> Any:
    model = network(True)
    model.compile(
        keras.optimizers.SGD(0.1),
        loss={"classes": ENTROPY, "size": "mse"},
        loss_weights={"classes": 1.0, "size": 0.25},
    )
    return model, {"data": ([NUMBERS, WORDS], {"classes": CLASSES, "size": VALUES})}


def test_two_named_inputs() -> None:
    built: list[Any] = []

    def build(seed: int) -> Any:
        built.append(one(seed))
        return built[-1]

    model = Adapter(build)
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    assert x.shape == (8, 9) and model.whole == [(4, 9)] and model.targets == "classes"
    user = built[0][0]
    z = user({"numbers": NUMBERS[ROWS], "words": WORDS[ROWS]})
    assert model.loss_and_gradients(x, y)[0] == pytest.approx(float(ENTROPY(CLASSES[ROWS], z)))
    np.testing.assert_allclose(model.outputs(x, False, 1)[0], ops.convert_to_numpy(z), rtol=1e-5)
    exact, _ = model.twin().loss_and_gradients(x.astype(np.float64), y)
    assert exact == pytest.approx(float(ENTROPY(CLASSES[ROWS], z)), abs=1e-6)


def test_two_outputs_with_a_loss_each() -> None:
    built: list[Any] = []

    def build(seed: int) -> Any:
        built.append(two(seed))
        return built[-1]

    model = Adapter(build)
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    assert model.targets == "own" and y.shape == (8, 2)
    z = built[0][0]([NUMBERS[ROWS], WORDS[ROWS]])
    error = float(np.mean((ops.convert_to_numpy(z["size"]) - VALUES[ROWS]) ** 2))
    truth = float(ENTROPY(CLASSES[ROWS], z["classes"])) + 0.25 * error
    loss, gradients = model.loss_and_gradients(x, y)
    assert loss == pytest.approx(truth, rel=1e-5)
    assert model.loss(model.outputs(x, False, 1)[0], y) == pytest.approx(truth, rel=1e-5)
    assert {"classes/kernel", "size/kernel"} <= set(gradients)
    losses, _ = model.steps([(x, y)] * 3)
    assert losses[2] < losses[0]


def test_named_outputs_are_joined_in_the_order_of_the_users_code() -> None:
    """Keras itself sorts them by name, and no other framework does."""
    built: list[Any] = []

    def build(seed: int) -> Any:
        numbers = keras.Input((4,))
        outputs = {name: layers.Dense(units, name=name)(numbers) for name, units in NAMED.items()}
        model = keras.Model(numbers, outputs)
        losses = {"size": "mse", "classes": ENTROPY}
        model.compile(keras.optimizers.SGD(0.1), losses, loss_weights={"size": 0.25, "classes": 1})
        built.append(model)
        return model, {"data": (NUMBERS, {"size": VALUES, "classes": CLASSES})}

    model = Adapter(build)
    assert model.graph().nodes[-1].inputs == ("size", "classes")
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    z = {name: ops.convert_to_numpy(part) for name, part in built[0](x).items()}
    joined = model.outputs(x, False, 1)[0]
    np.testing.assert_allclose(joined, np.concatenate([z["size"], z["classes"]], 1), rtol=1e-5)
    truth = float(ENTROPY(y[:, 1], z["classes"])) + 0.25 * float(
        np.mean((z["size"] - y[:, :1]) ** 2)
    )
    assert model.loss_and_gradients(x, y)[0] == pytest.approx(truth, rel=1e-5)
    assert model.loss(joined, y) == pytest.approx(truth, rel=1e-5)


class Sampling(layers.Layer):
    """Draws around a mean, and adds the divergence to the loss, as autoencoders do."""

    def call(self, moments: Any) -> Any:
        mean, spread = moments
        self.add_loss(0.1 * ops.mean(ops.square(mean) + ops.exp(spread) - 1 - spread))
        return mean + ops.exp(spread / 2) * keras.random.normal(ops.shape(mean))


def test_a_loss_of_the_models_own() -> None:
    def build(seed: int) -> Any:
        numbers = keras.Input((4,))
        moments = [layers.Dense(2, name=name)(numbers) for name in ("mean", "spread")]
        code = Sampling()(moments)
        model = keras.Model(numbers, layers.Dense(4)(code))
        model.compile(keras.optimizers.SGD(0.1))
        return model, {"data": (NUMBERS, None)}

    model = Adapter(build)
    assert model.trains and model.targets == "own"
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    loss, gradients = model.loss_and_gradients(x, y)
    weights = model.parameters()
    mean, spread = (
        x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"] for name in ("mean", "spread")
    )
    assert loss == pytest.approx(0.1 * np.mean(mean**2 + np.exp(spread) - 1 - spread), rel=1e-5)
    assert "mean/kernel" in gradients
    with pytest.raises(NotImplementedError, match="its own loss"):
        model.loss(model.outputs(x, False, 1)[0], y)


def test_free_sizes_are_those_of_the_data() -> None:
    def build(seed: int) -> Any:
        words = keras.Input((None,), dtype="int32")
        hidden = layers.GlobalAveragePooling1D()(layers.Embedding(30, 6)(words))
        model = keras.Model(words, layers.Dense(3)(hidden))
        model.compile(keras.optimizers.SGD(0.1), ENTROPY)
        return model, {"data": (WORDS, CLASSES)}

    model = Adapter(build)
    x, y = model.prepare(IMAGES, np.zeros(8, np.int64))
    assert model.graph().input_shape == (5,)
    np.testing.assert_array_equal(x, WORDS[ROWS])
    assert np.isfinite(model.loss_and_gradients(x, y)[0])


def test_several_inputs_need_data() -> None:
    def build(seed: int) -> Any:
        return one(seed)[0]

    with pytest.raises(InputError, match=r"has 2 inputs .numbers, words.: give examples"):
        Adapter(build)
