"""Keras models: how their layers are connected, named and placed."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras_sides import (
    check,
    convolve,
    functional,
    kinds,
    nodes,
    numbers,
    side,
)

from diptych.auditing.beside import beside
from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.graph import INPUT


def test_sums_shared_layers_nested_models_and_operations() -> None:
    def connect(inputs: Any) -> Any:
        shared = layers.Dense(4, name="shared")
        inner = keras.Sequential(
            [keras.Input((4,)), layers.Dense(4, name="dense", activation="relu")], name="inner"
        )
        x = shared(inputs)
        x = layers.Add(name="sum")([x, inner(x)])
        x = keras.ops.relu(shared(x) + inputs) / 255.0
        return layers.Concatenate(name="both")([x, inputs])

    model = functional((4,), connect)
    check(model, numbers(3, 4))
    assert kinds(model) == [
        *("dense", "dense", "activation", "add", "dense", "add", "activation", "rescale"),
        "concatenate",
    ]
    found = nodes(model)
    assert found["sum"].inputs == ("shared", "dense/activation")
    assert found["shared/2"].inputs == ("sum",)
    assert found["shared/2"].parameters == found["shared"].parameters
    assert found["both"].inputs[1] == INPUT
    assert model.parameters().keys() == {
        *("shared/kernel", "shared/bias", "dense/kernel", "dense/bias")
    }


def test_two_inner_models_may_call_their_layers_the_same() -> None:
    def block(name: str) -> keras.Sequential:
        return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense")], name=name)

    model = side(keras.Input((3,)), lambda: block("one"), lambda: block("two"))
    check(model, numbers(2, 3))
    first, second = model.graph().nodes
    assert (first.name, second.name) == ("dense", "dense/2")
    assert len({*first.parameters.values(), *second.parameters.values()}) == 4


def test_channels_first_is_turned_round() -> None:
    model = side(
        keras.Input((2, 6, 5)),
        lambda: layers.Conv2D(3, 3, padding="same", data_format="channels_first", name="conv"),
        lambda: layers.BatchNormalization(axis=1),
        lambda: layers.MaxPooling2D(2, data_format="channels_first"),
        lambda: layers.Flatten(name="flat"),
        lambda: layers.Dense(2),
    )
    assert model.graph().input_shape == (6, 5, 2)
    x = numbers(2, 6, 5, 2)
    record = check(model, x)
    assert kinds(model) == ["conv", "batch_norm", "max_pool", "flatten", "dense"]
    found = nodes(model)
    assert found["flat"].attributes == {"order": "first"}
    np.testing.assert_array_equal(
        record["flat"], np.moveaxis(record[found["flat"].inputs[0]], -1, 1).reshape(2, -1)
    )
    parameters = model.parameters()
    expected = convolve(x, parameters["conv/kernel"], found["conv"]) + parameters["conv/bias"]
    np.testing.assert_allclose(record["conv"], expected, atol=1e-5)
    loss, gradients = model.loss_and_gradients(x, numbers(2, 2))
    assert np.isfinite(loss)
    assert gradients["conv/kernel"].shape == parameters["conv/kernel"].shape


def test_each_node_knows_the_line_that_made_it() -> None:
    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="block")
            self.dense = layers.Dense(2)

        def build(self, input_shape: Any) -> None:
            self.dense.build(input_shape)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    def build(_: int) -> keras.Model:
        inputs = keras.Input((3,))
        x = layers.Dense(2, activation="relu", name="dense")(inputs)
        x = Block()(x)
        x = x + 1.0
        model = keras.Model(inputs, x)
        model.compile("sgd", "mse")
        return model

    original = keras.Operation.__new__
    model = Adapter(build)
    assert keras.Operation.__new__ is original
    first = build.__code__.co_firstlineno
    places = [node.where for node in model.graph().nodes]
    name = Path(__file__).name
    assert places == [f"{name}:{first + line}" for line in (2, 2, 3, 4)]
    assert nodes(model)["block"].attributes == {"class": "Block"}
    assert list(nodes(model)["block"].parameters) == ["0", "1"]
    assert len(model.parameters()) == 4


class Subclassed(keras.Model):
    """Written without the functional interface, and its training step forgets the mode."""

    def __init__(self) -> None:
        super().__init__(name="mine")
        self.dense = layers.Dense(3, name="dense")
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.norm(self.dense(inputs), training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data  # As `fit` gives them, and Keras' guide writes it.
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def subclassed(kind: type[Subclassed] = Subclassed) -> keras.Model:
    model = kind()
    model(np.zeros((1, 4), np.float32))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_layers_of_a_subclassed_model() -> None:
    model = Adapter(lambda _: subclassed())
    check(model, numbers(5, 4))
    assert [(node.name, node.kind) for node in model.graph().nodes] == [
        ("dense", "dense"), ("norm", "batch_norm")
    ]  # fmt: skip
    draws = model.initial(2)
    assert draws[0].keys() == model.parameters().keys()
    assert not np.array_equal(draws[0]["dense/kernel"], draws[1]["dense/kernel"])


class Adversarial(Subclassed):
    """Has a critic, which predictions do not go through, and a loss of its own beside."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = layers.Dense(1, name="critic")
        self.critic.build((None, 3))

    def call(self, inputs: Any, training: bool = False) -> Any:
        self.add_loss(keras.ops.mean(self.dense(inputs)))
        return super().call(inputs, training)


def test_layers_that_predictions_do_not_go_through_are_no_nodes() -> None:
    model = Adapter(lambda _: subclassed(Adversarial))
    assert [node.name for node in model.graph().nodes] == ["dense", "norm"]
    assert beside(model.graph(), model.parameters()) == ["critic/kernel", "critic/bias"]


class Doubling(Subclassed):
    """Does more than to call its layers."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return super().call(2 * inputs, training)


def test_a_model_that_does_more_than_call_layers_is_one_black_box() -> None:
    model = Adapter(lambda _: subclassed(Doubling))
    x, y = numbers(5, 4), np.arange(5) % 3
    check(model, x)
    (node,) = model.graph().nodes
    assert (node.name, node.kind, node.attributes) == ("mine", "custom", {"class": "Doubling"})
    assert (node.shape, len(node.parameters)) == ((3,), 6)
    # Its own training step calls it as for prediction, and that shows.
    np.testing.assert_array_equal(
        model.record(x, training=True)["mine"], model.record(x, training=False)["mine"]
    )
    loss, gradients = model.loss_and_gradients(x, y)
    assert loss == pytest.approx(model.loss(model.record(x, training=False)["mine"], y), rel=1e-5)
    assert len(gradients) == 4
    losses, _ = model.steps([(x, y), (x, y)])
    assert losses[0] == pytest.approx(loss, rel=1e-5)
    assert losses[1] < losses[0]


class Taught(keras.Model):
    """Learns from a teacher, whose outputs its loss computes of the inputs."""

    def __init__(self) -> None:
        super().__init__(name="taught")
        self.student, self.teacher = (
            layers.Dense(3, name="student"),
            layers.Dense(3, name="teacher"),
        )
        self.teacher.trainable = False

    def call(self, inputs: Any) -> Any:
        return self.student(inputs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Any:  # fmt: skip
        return keras.ops.mean((self.teacher(x) - y_pred) ** 2)


def test_a_loss_of_the_inputs_takes_no_other_outputs() -> None:
    def build(_: int) -> keras.Model:
        model = Taught()
        model(np.zeros((1, 4), np.float32))
        model.teacher(np.zeros((1, 4), np.float32))
        model.compile("sgd")
        return model

    model, x = Adapter(build), numbers(5, 4)
    y = np.zeros((5, 3), np.float32)
    with pytest.raises(NotImplementedError, match="its own loss of its inputs"):
        model.loss(np.zeros((5, 3), np.float32), y)
    own = {name: value.astype(np.float64) for name, value in model.parameters().items()}
    distance = x.astype(np.float64) @ (own["teacher/kernel"] - own["student/kernel"])
    loss, gradients = model.loss_and_gradients(x, y)
    assert loss == pytest.approx(np.mean(distance**2), rel=1e-5)
    assert gradients.keys() == {"student/kernel", "student/bias"}
    twin = model.twin()
    assert twin.loss_and_gradients(x.astype(np.float64), y)[0] == pytest.approx(loss, rel=1e-5)
