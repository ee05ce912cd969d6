"""Our own workflows as sides: low-level TensorFlow against the reference in NumPy."""

# The stubs for TensorFlow take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportIndexIssue=false, reportOperatorIssue=false, reportOptionalMemberAccess=false

import os
from typing import Any

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.


from tensorflow_networks import (
    node,
)

from diptych.auditing.frameworks.ours import adapter as reference
from diptych.auditing.frameworks.ours import submission as workflow
from diptych.auditing.frameworks.tensorflow.adapter import Adapter
from diptych.auditing.graph import INPUT
from diptych.errors import InputError
from diptych.network import Network

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
    files = {(node.where or "").partition(":")[0] for node in ours.nodes}
    assert files <= {"model.py", "dropout.py"}
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
