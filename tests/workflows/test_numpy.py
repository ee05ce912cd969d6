"""The reference: held to definitions, to finite differences, and to Adam by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SMALL, lively_weights, network_named, small_network

from diptych.data import Data
from diptych.layers import Activate, AveragePool, BatchNorm, Conv, MaxPool
from diptych.network import Weights
from diptych.recipe import Recipe
from diptych.workflows.numpy import operations as reference
from diptych.workflows.numpy.adam import Adam
from diptych.workflows.numpy.workflow import Workflow

STEP = 1e-6
IMAGES = 6
SIDES = st.integers(1, 9)
WINDOWS = st.integers(1, 4)


def loss_at(workflow: Workflow, name: str, at: tuple, value: float, batch) -> float:
    """The loss with one number of the weights replaced."""
    weights = workflow.values[name]
    before, weights[at] = weights[at], value
    loss, _, _ = workflow.backward(*batch)
    weights[at] = before
    return loss


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_those_of_finite_differences(name: str, mnist: Data) -> None:
    network = network_named(name)
    workflow = Workflow(network, Recipe(), seed=0)
    workflow.load(lively_weights(network))
    batch = mnist.test.images[:IMAGES], mnist.test.labels[:IMAGES]
    _, gradients, _ = workflow.backward(*batch)
    chance = np.random.default_rng(0)
    for weight, gradient in gradients.items():
        for flat in chance.choice(gradient.size, min(12, gradient.size), replace=False):
            at = np.unravel_index(flat, gradient.shape)
            value = float(workflow.values[weight][at])
            above, below = (
                loss_at(workflow, weight, at, value + step, batch) for step in (STEP, -STEP)
            )
            # Of the third derivative, and of the losses' own rounding divided by the step.
            assert gradient[at] == pytest.approx((above - below) / (2 * STEP), rel=1e-5, abs=3e-9)


def test_gradients_with_dropout_are_those_of_finite_differences(mnist: Data) -> None:
    network = small_network("geometry")
    layers = [*network.layers[:-1], {"kind": "dropout", "rate": 0.4}, network.layers[-1]]
    network = network.from_dict(network.to_dict() | {"layers": layers})
    workflow = Workflow(network, Recipe(), seed=0)
    batch = mnist.test.images[:IMAGES], mnist.test.labels[:IMAGES]
    _, gradients, _ = workflow.backward(*batch)
    gradient, value = gradients["dense_1/bias"], workflow.values["dense_1/bias"]
    for i in range(len(value)):
        above, below = (
            loss_at(workflow, "dense_1/bias", (i,), value[i] + step, batch)
            for step in (STEP, -STEP)
        )
        assert gradient[i] == pytest.approx((above - below) / (2 * STEP), rel=1e-5, abs=3e-9)


def assert_reversed(
    operation: Callable[[Weights, np.ndarray], tuple[np.ndarray, reference.Reverse]],
    weights: Weights,
    x: np.ndarray,
) -> None:
    """The reverse gives the slopes along any direction of the input and of the weights."""
    chance = np.random.default_rng(0)
    y, reverse = operation(weights, x)
    gradient = chance.standard_normal(y.shape)
    to_x, to_weights = reverse(gradient)
    assert to_weights.keys() == weights.keys()
    along_x = chance.standard_normal(x.shape)
    along = {name: chance.standard_normal(value.shape) for name, value in weights.items()}

    def loss(step: float) -> float:
        moved = {name: value + step * along[name] for name, value in weights.items()}
        return (operation(moved, x + step * along_x)[0] * gradient).sum()

    slope = (to_x * along_x).sum() + sum((to_weights[k] * along[k]).sum() for k in weights)
    assert slope == pytest.approx((loss(STEP) - loss(-STEP)) / (2 * STEP), rel=1e-6, abs=1e-6)


def by_definition(layer: Any, weights: Weights, x: np.ndarray) -> np.ndarray:
    """A convolution or a pooling, window by window, with only the pixels that there are."""
    height, width, _ = layer.output_shape(x.shape[1:])
    (top, _), (left, _) = layer.pads(x.shape[1:])
    places = {}
    for row, column in np.ndindex(height, width):
        places[row, column] = [
            ((i, j), x[:, row * layer.steps[0] - top + i, column * layer.steps[1] - left + j])
            for i, j in np.ndindex(*layer.window)
            if 0 <= row * layer.steps[0] - top + i < x.shape[1]
            and 0 <= column * layer.steps[1] - left + j < x.shape[2]
        ]
    value = {
        "conv": lambda seen: sum(p @ weights["kernel"][at] for at, p in seen) + weights["bias"],
        "max_pool": lambda seen: np.max([pixel for _, pixel in seen], axis=0),
        "average_pool": lambda seen: np.mean([pixel for _, pixel in seen], axis=0),
    }[layer.kind]
    return np.stack(
        [np.stack([value(places[r, c]) for c in range(width)], axis=1) for r in range(height)],
        axis=1,
    )


@settings(max_examples=60)
@given(
    size=st.tuples(SIDES, SIDES),
    window=st.tuples(WINDOWS, WINDOWS),
    stride=st.tuples(WINDOWS, WINDOWS),
    padding=st.sampled_from(["same", "valid"]),
    kind=st.sampled_from(["conv", "max_pool", "average_pool"]),
)
def test_windows_of_any_geometry_are_those_of_the_definition(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int], padding: Any, kind: str
) -> None:
    if padding == "valid":
        size = (max(size[0], window[0]), max(size[1], window[1]))
    chance = np.random.default_rng(0)
    x, weights = chance.standard_normal((2, *size, 3)), {}
    if kind == "conv":
        layer = Conv(filters=2, kernel=window, stride=stride, padding=padding)
        weights = {"kernel": chance.standard_normal((*window, 3, 2)), "bias": np.array([0.5, -2])}
    elif kind == "max_pool":
        layer = MaxPool(size=window, stride=stride, padding=padding)
    else:
        layer = AveragePool(size=window, stride=stride, padding=padding)

    def operation(weights: Weights, x: np.ndarray) -> tuple[np.ndarray, reference.Reverse]:
        if isinstance(layer, Conv):
            return reference.convolve(layer, weights, x)
        pool = reference.max_pool if isinstance(layer, MaxPool) else reference.average_pool
        return pool(layer, x)  # type: ignore[arg-type]

    y, _ = operation(weights, x)
    np.testing.assert_allclose(y, by_definition(layer, weights, x), rtol=1e-12, atol=1e-12)
    assert_reversed(operation, weights, x)


@pytest.mark.parametrize(
    ("activation", "definition"),
    [
        ({"activation": "linear"}, lambda x: x),
        ({"activation": "relu"}, lambda x: max(x, 0)),
        ({"activation": "leaky_relu", "slope": 0.3}, lambda x: x if x > 0 else 0.3 * x),
        ({"activation": "elu"}, lambda x: x if x > 0 else math.exp(x) - 1),
        ({"activation": "gelu"}, lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
        ({"activation": "tanh"}, math.tanh),
    ],
    ids=lambda value: value["activation"] if isinstance(value, dict) else "",
)
def test_activations_are_those_of_their_formulas(
    activation: dict[str, Any], definition: Callable[[float], float]
) -> None:
    layer, x = Activate(**activation), np.linspace(-4.05, 4, 24)
    y, _ = reference.activate(layer, x)
    np.testing.assert_allclose(y, [definition(value) for value in x], rtol=1e-12, atol=1e-14)
    assert_reversed(lambda _, x: reference.activate(layer, x), {}, x)


@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 4, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_that_of_its_formula(shape: tuple[int, ...], training: bool) -> None:
    layer = BatchNorm(epsilon=0.1)
    chance = np.random.default_rng(0)
    x, axes = 2 + 3 * chance.standard_normal(shape), tuple(range(len(shape) - 1))
    trained = {"gamma": np.array([0.5, -1, 2]), "beta": np.array([0.0, 1, 2])}
    moving = {"moving_mean": np.array([1.0, 2, 3]), "moving_variance": np.array([9.0, 4, 1])}

    def operation(weights: Weights, x: np.ndarray) -> tuple[np.ndarray, reference.Reverse]:
        return reference.batch_norm(layer, weights | moving, training, x)

    mean, variance = (x.mean(axes), x.var(axes)) if training else tuple(moving.values())
    expected = (x - mean) / np.sqrt(variance + 0.1) * trained["gamma"] + trained["beta"]
    np.testing.assert_allclose(operation(trained, x)[0], expected, rtol=1e-12, atol=1e-12)
    if training:  # The reverse is that of training.
        assert_reversed(operation, trained, x)


def test_a_pools_gradient_goes_to_the_first_of_equal_maxima() -> None:
    layer = MaxPool(name="pool", size=(2, 2))
    _, reverse = reference.max_pool(layer, np.ones((1, 2, 2, 1)))
    to_x, _ = reverse(np.full((1, 1, 1, 1), 5.0))
    assert to_x[0, ..., 0].tolist() == [[5, 0], [0, 0]]


def test_the_loss_of_huge_logits_is_finite() -> None:
    loss, gradient = reference.cross_entropy(np.array([[1e4, 0.0, -1e4]]), np.array([1]))
    assert loss == pytest.approx(1e4)
    assert gradient.tolist() == [[1.0, -1.0, 0.0]]


def test_the_loss_of_equal_logits_is_the_logarithm_of_the_classes() -> None:
    loss, gradient = reference.cross_entropy(np.zeros((4, 10)), np.array([0, 3, 3, 9]))
    assert loss == pytest.approx(np.log(10))
    assert gradient.sum() == pytest.approx(0)


def test_adam_takes_the_papers_steps() -> None:
    recipe = Recipe(learning_rate=0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-3)
    values = {"w": np.array([1.0])}
    adam = Adam(recipe, values)
    w, m, v = 1.0, 0.0, 0.0
    for t, gradient in enumerate([0.5, -2.0, 0.25], 1):
        adam.apply(values, {"w": np.array([gradient])}, 0.1, t)
        m = 0.9 * m + 0.1 * gradient
        v = 0.99 * v + 0.01 * gradient**2
        w -= 0.1 * (1 - 0.99**t) ** 0.5 / (1 - 0.9**t) * m / (v**0.5 + 1e-3)
        assert values["w"][0] == pytest.approx(w, rel=1e-12)


def test_batch_normalisation_follows_the_data_in_training_alone(mnist: Data) -> None:
    network = small_network("normalised")
    workflow = Workflow(network, Recipe(), seed=0)
    images, labels = mnist.test.images[:20], mnist.test.labels[:20]
    before = workflow.values["batch_norm_1/moving_mean"].copy()
    seen = workflow.forward(images, training=True)["conv_1"]
    workflow.logits(images)
    workflow.loss_and_gradients(images, labels)
    np.testing.assert_array_equal(workflow.values["batch_norm_1/moving_mean"], before)
    workflow.step(images, labels)
    np.testing.assert_allclose(
        workflow.values["batch_norm_1/moving_mean"], 0.9 * before + 0.1 * seen.mean((0, 1, 2))
    )
    np.testing.assert_allclose(
        workflow.values["batch_norm_1/moving_variance"], 0.9 + 0.1 * seen.var((0, 1, 2))
    )
