"""The adapters of low-level TensorFlow, of the workflows and of the reference in NumPy."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

import tensorflow as tf

from diptych.auditing.frameworks.ours import adapter as reference
from diptych.auditing.frameworks.ours import submission as workflow
from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.kinds.registry import KINDS
from diptych.errors import InputError
from diptych.network import Network

RANDOM = np.random.default_rng(0)


def variable(*shape: int, **settings: Any) -> tf.Variable:
    return tf.Variable(RANDOM.normal(0, 0.3, shape).astype(np.float32), **settings)


class Sgd:
    """Something that trains: subclasses have variables and a loss."""

    variables: Any = ()
    rate = 0.1

    def loss(self, x: Any, y: Any) -> Any:
        raise NotImplementedError

    def step(self, x: Any, y: Any) -> Any:
        given = self.variables
        all_of_them = given.values() if isinstance(given, dict) else given
        trained = [each for each in all_of_them if each.trainable]
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        for each, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
            if gradient is not None:
                each.assign_sub(self.rate * gradient)
        return loss


class Convolutional(Sgd):
    """Much of what people write by hand, once."""

    def __init__(self) -> None:
        self.variables = {
            "first": variable(3, 3, 1, 4),
            "first_bias": variable(4),
            "scale": variable(4),
            "shift": variable(4),
            "mean": tf.Variable(tf.zeros(4), trainable=False),
            "variance": tf.Variable(tf.ones(4), trainable=False),
            "deep": variable(3, 3, 4, 2),
            "last": variable(3, 3, 8, 4),
            "last_bias": variable(4),
            "out": variable(10, 4),
        }

    def network(self, x: Any, training: bool) -> Any:
        v = self.variables
        x = (x - 0.1307) / 0.3081
        x = tf.nn.conv2d(x, v["first"], 2, [[0, 0], [1, 1], [2, 1], [0, 0]]) + v["first_bias"]
        x = self.normalised(x, training)
        x = tf.maximum(x, 0.2 * x)
        x = before = tf.nn.max_pool2d(x, 3, 2, "SAME")
        x = tf.nn.depthwise_conv2d(x, v["deep"], [1, 1, 1, 1], "SAME")
        x = x * tf.sigmoid(x)
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = tf.nn.bias_add(tf.nn.conv2d(x, v["last"], 1, "VALID"), v["last_bias"])
        x = tf.nn.relu(x + before)
        if training:
            x = tf.nn.dropout(x, 0.3)
        x = 1.0507009873554805 * tf.where(x > 0, x, 1.6732632423543772 * (tf.exp(x) - 1))
        x = tf.reduce_mean(x, [1, 2])
        return tf.matmul(x, v["out"], transpose_b=True)

    def normalised(self, x: Any, training: bool) -> Any:
        v = self.variables
        mean, variance = v["mean"], v["variance"]
        if training:
            count = tf.cast(tf.size(x) // 4, tf.float32)
            mean = tf.reduce_mean(x, [0, 1, 2])
            variance = tf.reduce_mean((x - mean) ** 2, [0, 1, 2])
            v["mean"].assign(0.95 * v["mean"] + 0.05 * mean)
            v["variance"].assign(0.95 * v["variance"] + 0.05 * variance * count / (count - 1))
        return v["scale"] * (x - mean) / tf.sqrt(variance + 1e-5) + v["shift"]

    @tf.function
    def loss(self, x: Any, y: Any) -> Any:
        losses = tf.nn.softmax_cross_entropy_with_logits(y, self.network(x, training=True))
        return tf.reduce_mean(losses) + 1e-3 * tf.nn.l2_loss(self.variables["out"])

    def logits(self, x: Any) -> Any:
        return self.network(x, training=False)


class Signal(Sgd):
    """1-D, flattened with its channels first, dropout by hand; a regression."""

    input_shape = (20, 3)

    def __init__(self) -> None:
        self.variables = (variable(3, 3, 5), variable(5), variable(50, 1), variable(7))

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out, _ = self.variables
        x = tf.nn.leaky_relu(tf.nn.conv1d(x, kernel, 2, "SAME") + bias)
        x = tf.reshape(tf.transpose(x, [0, 2, 1]), [-1, 50])
        x *= tf.cast(tf.random.uniform(tf.shape(x)) < 0.75, tf.float32) / 0.75
        return tf.reduce_mean((tf.squeeze(x @ out, -1) - y) ** 2)


class Sequence(Sgd):
    """A product with every place of a sequence; numbers for targets."""

    input_shape: ClassVar = [7, 6]

    def __init__(self) -> None:
        self.variables = [variable(6, 8), variable(8), variable(8, 2)]

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out = self.variables
        hidden = tf.tanh(tf.tensordot(x, kernel, 1) + bias)
        return tf.reduce_mean(tf.square(hidden @ out - y))


class Binary(Sgd):
    """A layer that nobody knows, and a cross-entropy written out."""

    input_shape: ClassVar = [6]

    def __init__(self) -> None:
        self.variables = [variable(6, 8), variable(8), variable(8, 1), variable(8)]

    def loss(self, x: Any, y: Any) -> Any:
        kernel, bias, out, slopes = self.variables
        x = tf.matmul(x, kernel) + bias
        x = tf.maximum(x, 0) + slopes * tf.minimum(x, 0)
        p = tf.clip_by_value(tf.sigmoid(x @ out), 1e-7, 1 - 1e-7)
        return -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))


class Perceptron(Sgd):
    """A step by a Keras optimiser that clips, in a ``tf.function``, with a bias left frozen."""

    def __init__(self) -> None:
        names = ("hidden", "out", "bias")
        shapes = ((784, 16), (16, 10), (16,))
        self.variables = [variable(*s, name=n) for n, s in zip(names, shapes, strict=True)]
        self.optimizer = tf.keras.optimizers.SGD(0.5, clipnorm=1.0)

    def loss(self, x: Any, y: Any) -> Any:
        hidden, out, bias = self.variables
        x = tf.nn.gelu(x @ hidden + bias, approximate=True)
        shares = tf.nn.softmax(x @ out)
        return -tf.reduce_mean(tf.reduce_sum(tf.one_hot(y, 10) * tf.math.log(shares + 1e-8), 1))

    @tf.function
    def step(self, x: Any, y: Any) -> None:
        trained = {"b": self.variables[1], "a": self.variables[0]}
        with tf.GradientTape() as tape:
            loss = self.loss(x, y)
        gradients = tape.gradient(loss, trained)
        self.optimizer.apply_gradients([(gradients[name], trained[name]) for name in trained])


HAND_WRITTEN = (Convolutional, Signal, Sequence, Binary, Perceptron)


@cache
def side(make: Callable[[], Any]) -> Adapter:
    """A side whose every build starts from the same numbers."""

    def build(_: int) -> Any:
        global RANDOM
        RANDOM = np.random.default_rng(0)
        return make()

    return Adapter(build)


def found(model: Adapter) -> list[tuple[str, str]]:
    return [(n.attributes.get("function") or n.kind, n.name) for n in model.graph().nodes]


def node(model: Any, name: str) -> Node:
    return next(node for node in model.graph().nodes if node.name == name)


# What people write by hand.


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
    assert node(model, "pad_1").attributes == {"padding": [[1, 1], [1, 1]]}
    rescale = node(model, "rescale_1").attributes
    assert rescale["scale"] == pytest.approx(1 / 0.3081, rel=1e-5)
    assert rescale["offset"] == pytest.approx(-0.1307 / 0.3081, rel=1e-5)
    shapes = {name: value.shape for name, value in model.parameters().items()}
    assert shapes["deep"] == (3, 3, 1, 8)
    assert shapes["out"] == (4, 10)


def test_where_is_the_line_of_the_users_own_file() -> None:
    lines, start = inspect.getsourcelines(Convolutional)
    number = next(i for i, line in enumerate(lines, start) if "tf.nn.dropout" in line)
    assert node(side(Convolutional), "dropout_1").where == f"{Path(__file__).name}:{number}"


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
    assert custom.attributes == {"class": "Maximum+Minimum+Mul+AddV2"}
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
        assert set(each.attributes) == set(KINDS[each.kind].attributes) - {"statistics"}
        if each.kind != "custom":
            assert set(each.parameters) <= set(KINDS[each.kind].roles)
        assert record[each.name].shape == (6, *each.shape)
        inputs = [x if name == INPUT else record[name] for name in each.inputs]
        again = model.run_node(each.name, inputs, training=False)
        np.testing.assert_allclose(again, record[each.name], rtol=1e-4, atol=1e-5)


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


def test_a_step_of_its_own_way_is_said_to_be_one() -> None:
    class Own(Binary):
        def step(self, x: Any, y: Any) -> None:
            self.variables[0].assign_sub(0.1 * self.variables[0])

    model = Adapter(lambda _: Own())
    with pytest.raises(NotImplementedError, match="a way of its own"):
        model.updates([{"variable_0": np.zeros((6, 8), np.float32)}])
    assert len(model.loss_and_gradients(*model.example(4))[1]) == 4


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
    assert y.tolist() == list(range(7))
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


# The project's own workflows.

NORMALISED = """
input_shape = [28, 28, 1]
layers = [
  { kind = "conv", filters = 4, kernel = 3, stride = 2, padding = "valid" },
  { kind = "batch_norm", momentum = 0.9 },
  { kind = "activation", activation = "relu" },
  { kind = "average_pool", size = 3, stride = 2, padding = "same" },
  { kind = "dropout", rate = 0.25 },
  { kind = "flatten" },
  { kind = "dense", units = 16, activation = "elu" },
  { kind = "batch_norm", momentum = 0.5, epsilon = 0.01 },
  { kind = "activation", activation = "gelu" },
  { kind = "dense", units = 10 },
]
"""
ZOO = ("article", "leaky", "dense", "article-keras", "article-tensorflow", "article-valid")


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "normalised.toml"
    path.write_text(NORMALISED)
    return str(path)


def lively(model: Any) -> None:
    """Puts numbers in that are neither 0 nor 1 where biases and averages are."""
    chance = np.random.default_rng(3)
    model.load(
        {
            name: (value + chance.uniform(0, 0.2, value.shape)).astype(np.float32)
            for name, value in model.parameters().items()
            if not name.endswith("kernel")
        }
    )


def workflows_for(network: str, recipe: str) -> tuple[Adapter, reference.Adapter]:
    return (
        Adapter(workflow.build("tensorflow", network, recipe)),
        reference.Adapter(workflow.build("numpy", network, recipe)),
    )


@pytest.mark.parametrize("network", ZOO)
def test_both_workflows_describe_the_network_alike(network: str) -> None:
    tensorflow, numpy = workflows_for(network, "article")
    ours, theirs = tensorflow.graph(), numpy.graph()
    assert [vars(n) | {"where": None} for n in ours.nodes] == [vars(n) for n in theirs.nodes]
    assert ours.input_shape == theirs.input_shape
    assert all((n.where or "").startswith("tensorflow.py:") for n in ours.nodes)
    images, labels = np.zeros((2, 28, 28, 1), np.uint8), np.zeros(2, np.uint8)
    for model in (tensorflow, numpy):
        x, y = model.prepare(images, labels)
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)


def test_recipes_apply_to_both_workflows(normalised: str) -> None:
    tensorflow, numpy = workflows_for(normalised, "fast")
    for model in (tensorflow, numpy):
        assert node(model, "dropout_1").attributes == {"rate": 0.0625}
        batches = model.batches(240, 2) or []
        assert [[len(y) for _, y in epoch] for epoch in batches] == [[200, 40]] * 2
        assert {x.shape[1:] for epoch in batches for x, _ in epoch} == {(28, 28, 1)}
        assert sorted(np.concatenate([y for _, y in batches[0]])) == list(range(240))
    for ours, theirs in zip(
        tensorflow.batches(240, 2) or [], numpy.batches(240, 2) or [], strict=True
    ):
        for (x, y), (a, b) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, a)
            np.testing.assert_array_equal(y, b)


def test_both_workflows_compute_and_train_alike(normalised: str, mnist: Any) -> None:
    tensorflow, numpy = workflows_for(normalised, "article")
    lively(tensorflow)
    numpy.load(tensorflow.parameters())
    x, y = tensorflow.prepare(mnist.train.images[:24], mnist.train.labels[:24])

    ours, theirs = tensorflow.record(x, False), numpy.record(x, False)
    assert ours.keys() == theirs.keys() == {n.name for n in numpy.graph().nodes}
    for name, value in ours.items():
        assert theirs[name].dtype == np.float64
        np.testing.assert_allclose(value, theirs[name], rtol=1e-4, atol=1e-5)
    for each in numpy.graph().nodes:
        inputs = [x if name == INPUT else ours[name] for name in each.inputs]
        result = numpy.run_node(each.name, inputs, training=False)
        np.testing.assert_allclose(result, ours[each.name], rtol=1e-4, atol=1e-5)

    ours, theirs = tensorflow.record(x, True), numpy.record(x, True)
    assert ours.keys() == theirs.keys()
    for name in ("batch_norm_1", "parameter:batch_norm_1/moving_variance"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-4)

    loss, gradients = tensorflow.loss_and_gradients(x, y)
    exact_loss, exact = numpy.loss_and_gradients(x, y)
    assert loss == pytest.approx(exact_loss, rel=1e-5)
    assert gradients.keys() == exact.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, exact[name], rtol=1e-3, atol=1e-4)
    outputs = numpy.record(x, False)["output"]
    assert tensorflow.loss(outputs, y) == pytest.approx(numpy.loss(outputs, y), rel=1e-5)

    before = numpy.parameters()
    for updated, expected in zip(
        tensorflow.updates([gradients] * 3), numpy.updates([gradients] * 3), strict=True
    ):
        for name, value in updated.items():
            np.testing.assert_allclose(value, expected[name], atol=2e-7)
    losses, parameters = tensorflow.steps([(x, y)] * 3)
    exact_losses, exact_parameters = numpy.steps([(x, y)] * 3)
    np.testing.assert_allclose(losses, exact_losses, rtol=1e-4)
    for name, value in parameters[0].items():
        if name not in ("conv_1/bias", "dense_1/bias"):  # No gradient passes a normalisation.
            np.testing.assert_allclose(value, exact_parameters[0][name], atol=1e-4)
    for name, value in numpy.parameters().items():
        np.testing.assert_array_equal(value, before[name])
    assert tensorflow.optimiser() == numpy.optimiser()


def test_builds_of_workflows_differ_by_their_seeds_alone(normalised: str) -> None:
    tensorflow, numpy = workflows_for(normalised, "article")
    for ours, theirs in zip(tensorflow.initial(2), numpy.initial(2), strict=True):
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name])
    first, second = numpy.initial(2)
    assert np.any(first["conv_1/kernel"] != second["conv_1/kernel"])


def test_weights_of_a_run_are_in_every_build(normalised: str) -> None:
    weights = Network.load(normalised).initial_weights(7)
    for name, adapter in (("tensorflow", Adapter), ("numpy", reference.Adapter)):
        model = adapter(workflow.build(name, normalised, "article", weights))
        for each, value in model.initial(1)[0].items():
            np.testing.assert_array_equal(value, weights[each])


def test_the_keras_workflow_is_a_compiled_model_that_prepares_and_batches(normalised: str) -> None:
    model, extras = workflow.build("keras", normalised, "fast")(0)
    x, y = extras["prepare"](np.full((2, 28, 28, 1), 255, np.uint8), np.array([1, 2], np.uint8))
    assert model(x).shape == (2, 10)
    assert x.max() == pytest.approx(1)
    assert y.dtype == np.int64
    assert [len(y) for _, y in extras["batches"](np.zeros((210, 2, 2, 1)), np.arange(210))] == [
        200,
        10,
    ]
    assert model.get_layer("dropout_1").rate == 0.0625
    assert float(model.optimizer.learning_rate) < 1e-4  # The cycle begins far below its peak.


def test_a_workflow_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean"):
        workflow.build("tensorflo", "article")
