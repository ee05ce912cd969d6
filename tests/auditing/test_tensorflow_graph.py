"""The graphs that are read from low-level TensorFlow."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf
from tensorflow_networks import (
    HAND_WRITTEN,
    Binary,
    Convolutional,
    Sequence,
    Sgd,
    Signal,
    found,
    node,
    side,
    variable,
)

from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph
from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import KINDS


def test_a_network_written_by_hand_is_read() -> None:
    model = side(Convolutional)
    assert found(model) == [
        ("rescale", "rescale_1"),
        ("conv", "first"),
        ("batch_norm", "scale"),
        ("leaky_relu", "activation_1"),
        ("max_pool", "max_pool_1"),
        ("conv", "deep"),
        ("silu", "deep/activation"),
        ("pad", "pad_1"),
        ("conv", "last"),
        ("add", "add_1"),
        ("relu", "activation_2"),
        ("dropout", "dropout_1"),
        ("selu", "activation_3"),
        ("global_average_pool", "global_average_pool_1"),
        ("dense", "out"),
    ]
    assert model.targets == "one_hot"
    first = node(model, "first")
    assert first.parameters == {"kernel": "first", "bias": "first_bias"}
    assert first.attributes["padding"] == [[1, 1], [2, 1]]
    assert first.attributes["strides"] == [2, 2]
    assert node(model, "scale").attributes == {"epsilon": 1e-5, "momentum": 0.95, "unbiased": True}
    assert node(model, "scale").parameters == {
        "gamma": "scale",
        "beta": "shift",
        "mean": "mean",
        "variance": "variance",
    }
    assert node(model, "activation_1").attributes["slope"] == 0.2
    assert node(model, "deep").attributes["groups"] == 4
    assert node(model, "dropout_1").attributes == {"rate": 0.3}
    assert node(model, "add_1").inputs == ("last", "max_pool_1")
    assert node(model, "pad_1").attributes["padding"] == [[1, 1], [1, 1]]
    rescale = node(model, "rescale_1").attributes
    assert rescale["scale"] == pytest.approx(1 / 0.3081, rel=1e-5)
    assert rescale["offset"] == pytest.approx(-0.1307 / 0.3081, rel=1e-5)
    shapes = {name: value.shape for name, value in model.parameters().items()}
    assert shapes["deep"] == (3, 3, 1, 8)
    assert shapes["out"] == (4, 10)


def test_where_is_the_line_of_the_users_own_file() -> None:
    lines, start = inspect.getsourcelines(Convolutional)
    number = next(i for i, line in enumerate(lines, start) if "tf.nn.dropout" in line)
    assert (
        node(side(Convolutional), "dropout_1").where
        == f"{Path(inspect.getfile(Convolutional)).name}:{number}"
    )


def test_signals_and_their_dropout_by_hand_are_read() -> None:
    model = side(Signal)
    kinds = [kind for kind, _ in found(model)]
    assert kinds == ["conv", "leaky_relu", "flatten", "dropout", "dense"]
    conv, _, flatten, dropout, _ = model.graph().nodes
    assert conv.attributes == {"strides": [2], "padding": [[0, 1]], "dilation": [1], "groups": 1}
    assert flatten.attributes == {"order": "first"}
    assert dropout.attributes["rate"] == pytest.approx(0.25, rel=1e-5)
    assert model.targets == "values"
    with pytest.raises(NotImplementedError, match="dropout"):
        model.steps([model.example(3)])


def test_products_with_sequences_are_read() -> None:
    assert [kind for kind, _ in found(side(Sequence))] == ["dense", "tanh", "dense"]
    assert side(Sequence).graph().nodes[0].shape == (7, 8)
    assert side(Sequence).targets == "values"


def test_what_is_nothing_known_is_one_custom_node() -> None:
    model = side(Binary)
    assert [kind for kind, _ in found(model)] == ["dense", "custom", "dense", "sigmoid"]
    custom = model.graph().nodes[1]
    assert custom.attributes == {"class": "Maximum+Minimum+Square+Mul+AddV2"}
    assert custom.parameters == {"0": "variable_3"}
    assert model.targets == "binary"


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda x: x * tf.cast(x > 0, tf.float32)),
        ("leaky_relu", lambda x: tf.where(x > 0, x, 0.01 * x)),
        ("elu", lambda x: tf.where(x > 0, x, 0.5 * (tf.exp(x) - 1))),
        ("gelu", tf.nn.gelu),
        ("gelu", lambda x: 0.5 * x * (1 + tf.math.erf(x / np.sqrt(2)))),
        ("softplus", lambda x: tf.math.log(1 + tf.exp(x))),
        ("silu", tf.nn.silu),
        ("relu6", lambda x: tf.clip_by_value(x, 0, 6)),
        ("softmax", lambda x: tf.exp(x) / tf.reduce_sum(tf.exp(x), -1, keepdims=True)),
    ],
)
def test_activations_are_told_by_what_they_do(name: str, function: Callable) -> None:
    class Small(Sgd):
        input_shape: ClassVar = [6]

        def __init__(self) -> None:
            self.variables = [variable(6, 8), variable(8, 3)]

        def loss(self, x: Any, y: Any) -> Any:
            logits = function(x @ self.variables[0]) @ self.variables[1]
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    model = Adapter(lambda _: Small())
    assert [kind for kind, _ in found(model)] == ["dense", name, "dense"]
    slopes = {"leaky_relu": 0.01, "elu": 0.5}
    assert model.graph().nodes[1].attributes["slope"] == slopes.get(name)


class Limited(Sgd):
    """Two products, and between them a minimum."""

    input_shape: ClassVar = [6]

    def __init__(self, limit: float) -> None:
        self.limit, self.variables = limit, [variable(6, 8), variable(8, 3)]

    def loss(self, x: Any, y: Any) -> Any:
        logits = tf.minimum(x @ self.variables[0], self.limit) @ self.variables[1]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


@pytest.mark.parametrize("limit", [20.0, 100.0, 100_000.0])
def test_a_limit_that_ordinary_numbers_do_not_reach_is_read(limit: float) -> None:
    node = Adapter(lambda _: Limited(limit)).graph().nodes[1]
    assert (node.attributes["function"], node.attributes["limits"]) == ("clip", [None, limit])


@pytest.mark.parametrize("make", HAND_WRITTEN)
def test_graphs_keep_the_contract(make: Callable[[], Any]) -> None:
    model = side(make)
    graph = model.graph()
    assert Graph.from_dict(graph.to_dict()) == graph
    x = np.asarray(model.example(6)[0], np.float32)
    record = model.record(x, training=False)
    seen = {INPUT}
    for each in graph.nodes:
        assert set(each.inputs) <= seen
        seen.add(each.name)
        assert has_attributes(each, KINDS[each.kind]) and "statistics" not in each.attributes
        if each.kind != "custom":
            assert set(each.parameters) <= set(KINDS[each.kind].roles)
        assert record[each.name].shape == (6, *each.shape)
        inputs = [x if name == INPUT else record[name] for name in each.inputs]
        again = model.run_node(each.name, inputs, training=False)
        np.testing.assert_allclose(again, record[each.name], rtol=1e-4, atol=1e-5)
