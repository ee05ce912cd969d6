"""What the Keras adapter says of models whose truth is known."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import keras
import tensorflow as tf
from keras import layers

from diptych.auditing.frameworks.keras.adapter import Adapter, from_file
from diptych.auditing.graph import INPUT, Arrays, Graph
from diptych.auditing.kinds.registry import KINDS
from diptych.errors import InputError

RANDOM = np.random.default_rng(0)


def side(*parts: Any, loss: Any = "mse", optimizer: Any = "sgd", **extras: Any) -> Adapter:
    """A compiled Sequential model under audit; parts are functions that make its layers."""

    def build(_: int) -> Any:
        model = keras.Sequential([part() if callable(part) else part for part in parts])
        made = optimizer() if callable(optimizer) else optimizer
        model.compile(optimizer=made, loss=loss)
        return (model, extras) if extras else model

    return Adapter(build)


def functional(shape: tuple[int, ...], connect: Any, loss: Any = "mse", **compile: Any) -> Adapter:
    """A compiled functional model under audit; `connect` makes its output of its input."""

    def build(_: int) -> keras.Model:
        inputs = keras.Input(shape)
        model = keras.Model(inputs, connect(inputs))
        model.compile(**{"optimizer": "sgd", "loss": loss} | compile)
        return model

    return Adapter(build)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def nodes(model: Adapter) -> dict[str, Any]:
    return {node.name: node for node in model.graph().nodes}


def kinds(model: Adapter) -> list[str]:
    return [node.kind for node in model.graph().nodes]


def check(model: Adapter, x: np.ndarray) -> Arrays:
    """Holds graph, record and single nodes against each other and against the model itself."""
    before = model.parameters()
    graph = model.graph()
    assert Graph.from_dict(graph.to_dict()) == graph
    record = model.record(x, training=False)
    predicted = keras.ops.convert_to_numpy(model.model(model.turn_back(x), training=False))
    last = graph.nodes[-1].name
    np.testing.assert_allclose(record[last], model.turn(np.array(predicted)), rtol=1e-5, atol=1e-6)
    assert record.keys() == {node.name for node in graph.nodes}
    for node in graph.nodes:
        assert record[node.name].shape == (len(x), *node.shape)
        assert record[node.name].dtype == np.float32
        # How a normalisation is used is not for its node to say: the audit sees it in records.
        assert node.attributes.keys() == {*KINDS[node.kind].attributes} - {"statistics"}
        assert node.parameters.keys() <= set(KINDS[node.kind].roles or node.parameters)
        assert set(node.parameters.values()) <= before.keys()
        inputs = [x if name == INPUT else record[name] for name in node.inputs]
        again = model.run_node(node.name, inputs, training=False)
        np.testing.assert_allclose(again, record[node.name], rtol=1e-5, atol=1e-6)
    unchanged(model, before)
    return record


def unchanged(model: Adapter, before: Arrays) -> None:
    after = model.parameters()
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, name)


def convolve(x: np.ndarray, kernel: np.ndarray, node: Any) -> np.ndarray:
    """A convolution of images as the graph defines it, one pixel at a time."""
    x = np.pad(x, [(0, 0), *map(tuple, node.attributes["padding"]), (0, 0)])
    (rows, columns), (down, right) = node.attributes["strides"], node.attributes["dilation"]
    groups, out = node.attributes["groups"], kernel.shape[-1]
    y = np.zeros((len(x), *node.shape))
    for i in range(node.shape[0]):
        for j in range(node.shape[1]):
            window = x[:, i * rows :: down, j * columns :: right][
                :, : kernel.shape[0], : kernel.shape[1]
            ]
            for channel in range(out):
                group, width = channel // (out // groups), kernel.shape[2]
                part = window[..., group * width : (group + 1) * width]
                y[:, i, j, channel] = np.sum(part * kernel[..., channel], axis=(1, 2, 3))
    return y


# The graph.


@pytest.mark.parametrize(
    ("make", "padding"),
    [
        (lambda: layers.Conv2D(3, 3, padding="same", use_bias=False), [[1, 1], [1, 1]]),
        (lambda: layers.Conv2D(3, 3, 2, padding="same", use_bias=False), [[0, 1], [1, 1]]),
        (lambda: layers.Conv2D(3, (2, 4), padding="same", use_bias=False), [[0, 1], [1, 2]]),
        (lambda: layers.Conv2D(3, 2, 3, padding="same", use_bias=False), [[0, 0], [0, 1]]),
        (
            lambda: layers.Conv2D(3, 3, padding="same", dilation_rate=2, use_bias=False),
            [[2, 2]] * 2,
        ),
        (lambda: layers.Conv2D(4, 3, groups=2, use_bias=False), [[0, 0], [0, 0]]),
        (
            lambda: layers.DepthwiseConv2D(
                3, 2, padding="same", depth_multiplier=2, use_bias=False
            ),
            [[0, 1], [1, 1]],
        ),
    ],
)
def test_a_convolution_is_what_its_node_says(make: Any, padding: list[list[int]]) -> None:
    model = side(keras.Input((6, 7, 2)), make)
    (node,) = model.graph().nodes
    assert (node.kind, node.attributes["padding"]) == ("conv", padding)
    x = numbers(2, 6, 7, 2)
    kernel = model.parameters()[node.parameters["kernel"]]
    assert kernel.shape == (*kernel.shape[:2], 2 // node.attributes["groups"], node.shape[-1])
    record = check(model, x)
    np.testing.assert_allclose(record[node.name], convolve(x, kernel, node), atol=1e-5)


def test_padding_in_one_dimension_goes_to_the_far_side_or_to_the_past() -> None:
    model = side(
        keras.Input((9, 2)),
        lambda: layers.Conv1D(3, 4, padding="causal", dilation_rate=2),
        lambda: layers.Conv1D(3, 4, 2, padding="same"),
        lambda: layers.MaxPooling1D(2, padding="same"),
        lambda: layers.ZeroPadding1D((1, 2)),
        lambda: layers.GlobalMaxPooling1D(),
    )
    check(model, numbers(3, 9, 2))
    assert kinds(model) == ["conv", "conv", "max_pool", "pad", "global_max_pool"]
    paddings = [node.attributes.get("padding") for node in model.graph().nodes]
    assert paddings == [[[6, 0]], [[1, 2]], [[0, 1]], [[1, 2]], None]


def test_average_pooling_does_not_count_the_padding() -> None:
    model = side(keras.Input((3, 3, 1)), lambda: layers.AveragePooling2D(2, padding="same"))
    (node,) = model.graph().nodes
    assert node.attributes == {
        "size": [2, 2],
        "strides": [2, 2],
        "padding": [[0, 1], [0, 1]],
        "count_padding": False,
    }
    ones = check(model, np.ones((1, 3, 3, 1), np.float32))[node.name]
    np.testing.assert_array_equal(ones, np.ones((1, 2, 2, 1)))


def test_an_activation_argument_is_a_node_of_its_own() -> None:
    model = side(
        keras.Input((5,)),
        lambda: layers.Dense(4, activation="relu", name="a"),
        lambda: layers.Dense(4, activation="linear", name="b"),
        lambda: layers.Dense(4, activation=layers.LeakyReLU(negative_slope=0.3), name="c"),
        lambda: layers.Dense(4, activation=lambda x: x * x, name="d"),
        lambda: layers.Dense(4, activation=layers.PReLU(), name="e"),
        lambda: layers.Dense(3, activation="softmax", name="f"),
    )
    record = check(model, numbers(2, 5))
    assert list(record) == [
        *("a", "a/activation", "b", "c", "c/activation", "d", "d/activation"),
        *("e", "e/activation", "f", "f/activation"),
    ]
    assert record["a"].min() < 0
    np.testing.assert_array_equal(record["a/activation"], np.maximum(record["a"], 0))
    found = nodes(model)
    assert found["c/activation"].attributes == {"function": "leaky_relu", "slope": 0.3}
    assert (found["d/activation"].kind, found["d/activation"].attributes) == (
        "custom",
        {"class": "<lambda>"},
    )
    assert found["e"].parameters == {"kernel": "e/kernel", "bias": "e/bias"}
    assert list(found["e/activation"].parameters) == ["0"]
    np.testing.assert_allclose(record["f/activation"].sum(-1), 1, rtol=1e-6)


def test_a_separable_convolution_is_two() -> None:
    model = side(
        keras.Input((6, 7, 2)),
        lambda: layers.SeparableConv2D(
            5, 3, 2, padding="same", depth_multiplier=3, activation="relu", name="both"
        ),
    )
    check(model, numbers(2, 6, 7, 2))
    first, second, _ = model.graph().nodes
    assert (first.attributes["groups"], first.attributes["padding"]) == (2, [[0, 1], [1, 1]])
    assert (first.shape, second.shape, second.attributes["groups"]) == ((3, 4, 6), (3, 4, 5), 1)
    parameters = model.parameters()
    assert parameters[first.parameters["kernel"]].shape == (3, 3, 1, 6)
    assert parameters[second.parameters["kernel"]].shape == (1, 1, 6, 5)


@pytest.mark.parametrize(
    ("make", "function", "slope"),
    [
        (lambda: layers.ReLU(), "relu", None),
        (lambda: layers.ReLU(negative_slope=0.2), "leaky_relu", 0.2),
        (lambda: layers.ReLU(max_value=6), "relu6", None),
        (lambda: layers.ReLU(max_value=5), None, None),
        (lambda: layers.LeakyReLU(), "leaky_relu", 0.3),
        (lambda: layers.ELU(alpha=0.5), "elu", 0.5),
        (lambda: layers.Softmax(), "softmax", None),
        (lambda: layers.Activation("leaky_relu"), "leaky_relu", 0.2),
        (lambda: layers.Activation("gelu"), "gelu", None),
        (lambda: layers.Activation("swish"), "silu", None),
        (lambda: layers.Activation("hard_sigmoid"), None, None),
        (lambda: layers.PReLU(), None, None),
    ],
)
def test_activation_layers(make: Any, function: str | None, slope: float | None) -> None:
    model = side(keras.Input((4,)), make)
    check(model, numbers(3, 4))
    (node,) = model.graph().nodes
    if function is None:
        assert node.kind == "custom"
    else:
        assert (node.kind, node.attributes["function"]) == ("activation", function)
        assert node.attributes["slope"] == pytest.approx(slope)


def test_layers_that_do_nothing_are_no_nodes_and_odd_ones_are_black_boxes() -> None:
    model = side(
        keras.Input((4, 4, 2)),
        lambda: layers.Activation("linear"),
        lambda: layers.Rescaling(2.0, -1.0),
        lambda: layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0]),
        lambda: layers.SpatialDropout2D(0.5),
        lambda: layers.SeparableConv2D(3, 2, name="separable", activation="tanh"),
        lambda: layers.Permute((2, 1, 3)),
        lambda: layers.Identity(),
        lambda: layers.ActivityRegularization(0.1),
        lambda: layers.Reshape((9, 3)),
        lambda: layers.Flatten(),
    )
    x = numbers(2, 4, 4, 2)
    record = check(model, x)
    assert kinds(model) == [
        *("rescale", "rescale", "custom", "conv", "conv", "activation", "custom", "reshape"),
        "flatten",
    ]
    scaled = nodes(model)["normalization" if "normalization" in record else list(record)[1]]
    np.testing.assert_allclose(scaled.attributes["scale"], [1 / 2, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(
        record[scaled.name], (2 * x - 1 - [1.0, 2.0]) / [2.0, 3.0], rtol=1e-5, atol=1e-6
    )


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


# Modes.


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


# Losses and gradients.


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


# Initial weights, data, batches.


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
    np.testing.assert_array_equal(given.prepare(images, labels)[0], small[0][:2])
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


# Files.


def saved(path: Path, *more: keras.Layer, compiled: bool = True) -> Path:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out"), *more])
    if compiled:
        model.compile(keras.optimizers.Adam(0.1), "mse")
        model.fit(numbers(4, 3), numbers(4, 2), verbose=0)
    model.save(path)
    return path


def test_a_file_is_trained_from_a_fresh_optimiser(tmp_path: Path) -> None:
    model = Adapter(from_file(saved(tmp_path / "model.keras")))
    check(model, numbers(2, 3))
    assert model.trains
    assert model.graph().nodes[0].where is None
    gradient = {"out/kernel": np.full((3, 2), 7.0, np.float32)}
    moved = model.parameters()["out/kernel"] - model.updates([gradient])[0]["out/kernel"]
    np.testing.assert_allclose(moved, 0.1, rtol=1e-4)
    one, two = model.initial(2)
    np.testing.assert_array_equal(one["out/kernel"], two["out/kernel"])


def test_an_uncompiled_file_does_not_train(tmp_path: Path) -> None:
    model = Adapter(from_file(saved(tmp_path / "model.keras", compiled=False)))
    assert not model.trains
    assert model.optimiser() == {}
    check(model, numbers(2, 3))
    assert model.record(numbers(2, 3), training=True).keys() == {"out"}


@keras.saving.register_keras_serializable("ours")
class Doubled(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def test_a_file_never_runs_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    trap = layers.Lambda(lambda x, path=str(ran): (Path(path).touch(), x)[1], name="trap")
    path = saved(tmp_path / "model.keras", trap)
    ran.unlink()
    with pytest.raises(InputError, match=r"Lambda 'trap', and loading a file never runs code"):
        Adapter(from_file(path))
    assert not ran.exists()
    own = saved(tmp_path / "own.keras", Doubled(name="twice"))
    with pytest.raises(InputError, match=r"code of its own for Doubled 'twice'"):
        Adapter(from_file(own))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, content in (("text.keras", b"text"), ("empty.keras", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is damaged, or not what its name says"):
            Adapter(from_file(tmp_path / name))
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as file:
        file.writestr("config.txt", "{}")
    with pytest.raises(InputError, match=r"not a whole \.keras file"):
        Adapter(from_file(tmp_path / "other.keras"))
    whole = saved(tmp_path / "whole.keras")
    with zipfile.ZipFile(whole) as file, zipfile.ZipFile(tmp_path / "part.keras", "w") as part:
        part.writestr("config.json", file.read("config.json"))
        part.writestr("metadata.json", file.read("metadata.json"))
    with pytest.raises(InputError, match=r"not a whole \.keras file .*model\.weights\.h5"):
        Adapter(from_file(tmp_path / "part.keras"))
    (tmp_path / "model.h5").write_bytes(b"\x89HDF")
    with pytest.raises(InputError, match=r"not a \.keras file, and others \(HDF5, pickle\)"):
        from_file(tmp_path / "model.h5")
    with pytest.raises(InputError, match="is not a file"):
        from_file(tmp_path / "none.keras")


@pytest.mark.parametrize(
    "config, array, said",
    [
        (bytes(130 * 2**20), 4, "config.json would be 130 MiB unpacked"),
        (b"{}", 2**40, "its arrays would be 4,194,304 MiB, but 0.0 are in the file"),
        (b"[" * 100_000, 4, r"not a whole \.keras file"),
    ],
)
def test_files_that_would_take_too_much(
    config: bytes, array: int, said: str, tmp_path: Path
) -> None:
    weights, path = io.BytesIO(), tmp_path / "x.keras"
    with h5py.File(weights, "w") as file:
        # Nothing is stored of an array in chunks until it is written to.
        file.create_dataset("layers/dense/vars/0", (array,), "f4", chunks=True, compression=9)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", weights.getvalue())
    assert path.stat().st_size < 2**18
    with pytest.raises(InputError, match=said):
        from_file(path)(0)


# What people hand in.


def compiled(model: keras.Model) -> keras.Model:
    model.compile("sgd", "mse")
    return model


def two_ends(inputs: int, outputs: int) -> keras.Model:
    taken = [keras.Input((2,), name=f"in{i}") for i in range(inputs)]
    x = layers.Add()(taken) if inputs > 1 else taken[0]
    return compiled(keras.Model(taken, [layers.Dense(1)(x) for _ in range(outputs)]))


def dense() -> keras.Model:
    return compiled(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: None, "returned None: expected a compiled keras.Model"),
        (lambda: (1, 2, 3), r"returned \(int, int, int\)"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Dense(1)]), "uncompiled"),
        (lambda: compiled(keras.Sequential([layers.Dense(1)])), "give it a keras.Input"),
        (lambda: two_ends(2, 1), r"2 inputs \(in0, in1\)"),
        (lambda: two_ends(1, 2), "2 outputs"),
        (
            lambda: compiled(keras.Sequential([keras.Input((None, 2)), layers.LSTM(1)])),
            r"shape \(None, 2\)",
        ),
        (lambda: (dense(), {"step": print}), "extras has step: the keys that count are prepare"),
        (lambda: (dense(), {"fit": {"batchsize": 3}}), "extras\\['fit'\\] holds batchsize"),
        (lambda: (dense(), {"data": 3}), r"expected \(x, y\)"),
        (lambda: (dense(), {"prepare": 3}), "expected a function"),
    ],
)
def test_what_is_not_to_be_audited(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Adapter(lambda _: given())


def test_the_users_data_builds_a_model_that_has_no_input() -> None:
    model = Adapter(
        lambda _: (
            compiled(keras.Sequential([layers.Dense(1)])),
            {"data": (numbers(4, 3), numbers(4, 1))},
        )
    )
    assert model.graph().input_shape == (3,)
    check(model, numbers(2, 3))


# The other backend.

ON_TORCH = """
import keras, numpy as np
from keras import layers
from diptych.auditing.frameworks.keras.adapter import Adapter

def build(seed):
    model = keras.Sequential([
        keras.Input((5, 5, 2)),
        layers.Conv2D(3, 2, padding="same", activation="relu", name="conv"),
        layers.BatchNormalization(name="norm"),
        layers.AveragePooling2D(2, padding="same", name="odd"),
        layers.AveragePooling2D(3, 1, padding="same", name="even"),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(3, name="out", kernel_constraint="non_neg"),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), loss)
    return model, {"fit": {"batch_size": 4, "shuffle": False}}

model = Adapter(build)
assert "PyTorch" in model.framework, model.framework
nodes = {node.name: node for node in model.graph().nodes}
assert nodes["conv"].attributes["padding"] == [[0, 1], [0, 1]]
assert nodes["odd"].kind == "custom" and nodes["even"].kind == "average_pool"
x = np.random.default_rng(0).random((6, 5, 5, 2), np.float32)
y, before = np.arange(6) % 3, model.parameters()
record = model.record(x, True)
np.testing.assert_allclose(
    record["norm"].reshape(-1, 3).mean(0), np.zeros(3), atol=1e-5)
assert "parameter:norm/moving_mean" in record
loss, gradients = model.loss_and_gradients(x, y)
assert len(gradients) == 6
updated = model.updates([gradients])[0]
losses, after = model.steps([(x, y)])
assert abs(losses[0] - loss) < 1e-6
for name in gradients:
    np.testing.assert_allclose(updated[name], after[0][name], atol=1e-6)
assert updated["out/kernel"].min() >= 0
outputs = model.record(x, False)["out"]
assert np.isfinite(model.loss(outputs, y))
for name, value in model.parameters().items():
    np.testing.assert_array_equal(value, before[name])
assert [len(y) for _, y in model.batches(10, 1)[0]] == [4, 4, 2]
print("fine")
"""


def test_on_pytorch() -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", ON_TORCH],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("fine"), done.stderr[-2000:]
