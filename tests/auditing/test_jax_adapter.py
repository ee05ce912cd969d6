"""The JAX adapter: what it gives is what the workflow itself computes."""

import numpy as np
import pytest

from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import KINDS
from diptych.data import Data
from diptych.network import Network
from diptych.recipe import Recipe

pytest.importorskip("jax", reason="pip install '.[jax]'")
pytest.importorskip("optax", reason="pip install '.[jax]'")

from diptych.auditing.frameworks.ours.jax_adapter import Adapter
from diptych.auditing.frameworks.ours.submission import with_rates

NETWORK = Network.from_dict(
    {
        "input_shape": [28, 28, 1],
        "layers": [
            {"kind": "conv", "filters": 4, "kernel": 3, "stride": 4, "padding": "same"}
            | {"activation": "leaky_relu", "slope": 0.1},
            {"kind": "batch_norm", "momentum": 0.9},
            {"kind": "dropout", "rate": 0.5},
            {"kind": "flatten"},
            {"kind": "dense", "units": 10},
        ],
    }
)
RECIPE = Recipe(batch_size=8, learning_rate=0.01)


def side(recipe: Recipe = RECIPE) -> Adapter:
    return Adapter(with_rates("jax", NETWORK, recipe))


@pytest.fixture
def batch(mnist: Data) -> tuple[np.ndarray, np.ndarray]:
    return mnist.train.images[:8], mnist.train.labels[:8].astype(np.int64)


def test_each_node_is_recorded_and_the_last_gives_the_workflows_logits(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    model = side()
    graph, record = model.graph(), model.record(batch[0], training=False)
    assert {node.name for node in graph.nodes} == record.keys()
    for node in graph.nodes:
        assert has_attributes(node, KINDS[node.kind])
        assert record[node.name].shape == (8, *node.shape)
    logits = model.workflow.logits(batch[0])
    np.testing.assert_allclose(record["output"], logits, rtol=1e-5, atol=1e-6)
    x = record["conv_1"]
    np.testing.assert_array_equal(
        record["conv_1/activation"], np.where(x > 0, x, x * np.float32(0.1))
    )


def test_training_drops_moves_averages_and_leaves_the_side_as_it_was(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    model = side()
    before = model.parameters()
    record = model.record(batch[0], training=True)
    assert 0.3 < np.mean(record["dropout_1"] == 0) < 0.7
    x = record["conv_1/activation"].astype(np.float64)
    moved = record["parameter:batch_norm_1/moving_mean"]
    np.testing.assert_allclose(moved, 0.1 * x.mean((0, 1, 2)), rtol=1e-5, atol=1e-7)
    model.steps([batch])
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_step_is_its_gradients_update(batch: tuple[np.ndarray, np.ndarray]) -> None:
    model = side()
    loss, gradients = model.loss_and_gradients(*batch)
    losses, (stepped,) = model.steps([batch])
    (updated,) = model.updates([gradients])
    assert losses == [pytest.approx(loss, rel=1e-6)]
    for name in gradients:
        np.testing.assert_allclose(updated[name], stepped[name], rtol=1e-5, atol=1e-7)
    workflow = model.fresh(dropout=False)
    outputs = np.array(workflow.logits(batch[0]))
    exact = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(8), batch[1]]
    assert model.loss(outputs, batch[1]) == pytest.approx(exact.mean(), rel=1e-5)


def test_bfloat16_trains_in_it_and_infers_in_float32(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    coarse, exact = side(RECIPE.with_changes(precision="bfloat16")), side()
    name = "conv_1"
    trained = [model.record(batch[0], training=True)[name] for model in (coarse, exact)]
    inferred = [model.record(batch[0], training=False)[name] for model in (coarse, exact)]
    assert trained[0].dtype == np.float32 and not np.allclose(*trained, rtol=1e-4)
    np.testing.assert_array_equal(inferred[0], inferred[1])
