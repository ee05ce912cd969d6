"""Keras' layers, each held against what its node of the graph says."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import check, convolve, kinds, nodes, numbers, side


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
    assert list(found["e/activation"].parameters) == ["slope"]
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
        (lambda: layers.ReLU(max_value=5), "clip", None),
        (lambda: layers.ReLU(negative_slope=0.2, max_value=1, threshold=0.5), "capped_relu", 0.2),
        (lambda: layers.LeakyReLU(), "leaky_relu", 0.3),
        (lambda: layers.ELU(alpha=0.5), "elu", 0.5),
        (lambda: layers.Softmax(), "softmax", None),
        (lambda: layers.Activation("leaky_relu"), "leaky_relu", 0.2),
        (lambda: layers.Activation("gelu"), "gelu", None),
        (lambda: layers.Activation("swish"), "silu", None),
        (lambda: layers.Activation("hard_sigmoid"), "hard_sigmoid", 1 / 6),
        (lambda: layers.Activation("sparsemax"), None, None),
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


def test_layers_that_do_nothing_are_no_nodes() -> None:
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
        *("rescale", "rescale", "spatial_dropout", "conv", "conv", "activation", "rearrange"),
        *("reshape", "flatten"),
    ]
    scaled = nodes(model)["normalization" if "normalization" in record else list(record)[1]]
    np.testing.assert_allclose(scaled.attributes["scale"], [1 / 2, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(
        record[scaled.name], (2 * x - 1 - [1.0, 2.0]) / [2.0, 3.0], rtol=1e-5, atol=1e-6
    )
