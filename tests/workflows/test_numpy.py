"""The reference: held to finite differences, to TensorFlow in float64, and to Adam by hand."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SMALL, lively_weights, network_named, small_network

from diptych.data import Data
from diptych.network import AveragePool, Conv, MaxPool
from diptych.recipe import Recipe
from diptych.workflows import numpy as reference

STEP = 1e-6
IMAGES = 6
SIDES = st.integers(1, 9)
WINDOWS = st.integers(1, 4)


def loss_at(workflow: reference.Workflow, name: str, at: tuple, value: float, batch) -> float:
    """The loss with one number of the weights replaced."""
    weights = workflow.values[name]
    before, weights[at] = weights[at], value
    loss, _, _ = workflow.backward(*batch)
    weights[at] = before
    return loss


@pytest.mark.parametrize("name", [*SMALL, "leaky"])
def test_gradients_are_those_of_finite_differences(name: str, mnist: Data) -> None:
    network = network_named(name)
    workflow = reference.Workflow(network, Recipe(), seed=0)
    workflow.load(lively_weights(network))
    count = IMAGES if name in SMALL else 1
    batch = mnist.test.images[:count], mnist.test.labels[:count]
    _, gradients, _ = workflow.backward(*batch)
    chance = np.random.default_rng(0)
    checked = 12 if name in SMALL else 2
    for weight, gradient in gradients.items():
        for flat in chance.choice(gradient.size, min(checked, gradient.size), replace=False):
            at = np.unravel_index(flat, gradient.shape)
            value = workflow.values[weight][at]
            above, below = (
                loss_at(workflow, weight, at, value + step, batch) for step in (STEP, -STEP)
            )
            # Of the third derivative, and of the losses' own rounding divided by the step.
            assert gradient[at] == pytest.approx((above - below) / (2 * STEP), rel=1e-5, abs=3e-9)


def test_gradients_with_dropout_are_those_of_finite_differences(mnist: Data) -> None:
    network = small_network("geometry")
    layers = [*network.layers[:-1], {"kind": "dropout", "rate": 0.4}, network.layers[-1]]
    network = network.from_dict(network.to_dict() | {"layers": layers})
    workflow = reference.Workflow(network, Recipe(), seed=0)
    batch = mnist.test.images[:IMAGES], mnist.test.labels[:IMAGES]
    _, gradients, _ = workflow.backward(*batch)
    gradient, value = gradients["dense_1/bias"], workflow.values["dense_1/bias"]
    for i in range(len(value)):
        above, below = (
            loss_at(workflow, "dense_1/bias", (i,), value[i] + step, batch)
            for step in (STEP, -STEP)
        )
        assert gradient[i] == pytest.approx((above - below) / (2 * STEP), rel=1e-5, abs=3e-9)


def as_in_tensorflow(operation, x: np.ndarray, gradient: np.ndarray, *weights: np.ndarray):
    """The output of a TensorFlow operation in float64, and its gradients."""
    import tensorflow as tf

    inputs = [tf.constant(value) for value in (x, *weights)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = operation(*inputs)
    return y.numpy(), [g.numpy() for g in tape.gradient(y, inputs, tf.constant(gradient))]


@settings(max_examples=40)
@given(
    size=st.tuples(SIDES, SIDES),
    window=st.tuples(WINDOWS, WINDOWS),
    stride=st.tuples(WINDOWS, WINDOWS),
    padding=st.sampled_from(["same", "valid"]),
    kind=st.sampled_from(["conv", "max_pool", "average_pool"]),
)
def test_windows_of_any_geometry_are_those_of_tensorflow(
    size: tuple[int, int],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: str,
    kind: str,
) -> None:
    import tensorflow as tf

    if padding == "valid":
        size = (max(size[0], window[0]), max(size[1], window[1]))
    chance = np.random.default_rng(0)
    x = chance.standard_normal((2, *size, 3))
    weights: list[np.ndarray] = []
    options = {"name": "it", "stride": stride, "padding": padding}
    if kind == "conv":
        layer = Conv(filters=2, kernel=window, **options)
        weights = [chance.standard_normal((*window, 3, 2)), chance.standard_normal(2)]
        ours = partial(
            reference.convolve, layer, dict(zip(("kernel", "bias"), weights, strict=True))
        )

        def theirs(x, kernel, bias):
            return tf.nn.conv2d(x, kernel, stride, padding.upper()) + bias

    else:
        pools = {
            "max_pool": (MaxPool, reference.max_pool, tf.nn.max_pool2d),
            "average_pool": (AveragePool, reference.average_pool, tf.nn.avg_pool2d),
        }
        make, operation, tensorflow = pools[kind]
        layer = make(size=window, **options)
        ours = partial(operation, layer)

        def theirs(x):
            return tensorflow(x, window, stride, padding.upper())

    y, reverse = ours(x)
    assert y.shape[1:] == layer.output_shape(x.shape[1:])
    gradient = chance.standard_normal(y.shape)
    to_x, to_weights = reverse(gradient)
    expected_y, expected = as_in_tensorflow(theirs, x, gradient, *weights)
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-12)
    for found, right in zip([to_x, *to_weights.values()], expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-12)


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
    adam = reference.Adam(recipe, values)
    w, m, v = 1.0, 0.0, 0.0
    for t, gradient in enumerate([0.5, -2.0, 0.25], 1):
        adam.apply(values, {"w": np.array([gradient])}, 0.1, t)
        m = 0.9 * m + 0.1 * gradient
        v = 0.99 * v + 0.01 * gradient**2
        w -= 0.1 * (1 - 0.99**t) ** 0.5 / (1 - 0.9**t) * m / (v**0.5 + 1e-3)
        assert values["w"][0] == pytest.approx(w, rel=1e-12)


def test_batch_normalisation_follows_the_data_in_training_alone(mnist: Data) -> None:
    network = small_network("normalised")
    workflow = reference.Workflow(network, Recipe(), seed=0)
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
