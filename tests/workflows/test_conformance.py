"""Every workflow computes what the reference computes, as far as float32 can.

The bounds are derived in `rounding.py`; the last tests show that real differences, however small,
are outside them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import rounding
from networks import NETWORKS, SMALL, WORKFLOWS, lively_weights, network_named
from rounding import Bounded

from diptych import workflows
from diptych.data import Data
from diptych.network import Network, Weights
from diptych.recipe import Recipe

RUNS = 8
"""Of Monte Carlo arithmetic; see "Confidence" in `rounding.py`."""
IMAGES = 12
CANDIDATES = 40
"""Images from which the first clear ones are taken, as many as are needed."""


@dataclass
class Case:
    """A network with its weights, real images, and what float32 may make of them."""

    network: Network
    weights: Weights
    images: np.ndarray
    logits: Bounded
    clear_images: np.ndarray
    clear_labels: np.ndarray
    gradients: Bounded

    def outside(self, workflow: workflows.Workflow) -> dict[str, float]:
        """Which of the workflow's logits, loss and gradients are not the reference's."""
        logits = outside({"logits": workflow.logits(self.images)}, self.logits)
        loss, gradients = workflow.loss_and_gradients(self.clear_images, self.clear_labels)
        return logits | outside(gradients | {"loss": np.array(loss)}, self.gradients)


@pytest.fixture(scope="module")
def case_of(mnist: Data) -> Callable[[str], Case]:
    """Computes the bounds once for all workflows."""

    @cache
    def make(name: str) -> Case:
        network = network_named(name)
        weights = lively_weights(network)
        candidates = mnist.test.images[:CANDIDATES]
        clear = rounding.clear_images(network, weights, candidates, True, RUNS)
        chosen = np.flatnonzero(clear)[: IMAGES // 2]
        assert len(chosen) == IMAGES // 2
        images, labels = mnist.test.images[chosen], mnist.test.labels[chosen]
        return Case(
            network,
            weights,
            candidates[:IMAGES],
            rounding.logits_bounds(network, weights, candidates[:IMAGES], RUNS),
            images,
            labels,
            rounding.gradients_bounds(network, weights, images, labels, RUNS),
        )

    return make


def build(name: str, network: Network, weights: Weights, **recipe: Any) -> workflows.Workflow:
    workflow = workflows.load(name)(network, Recipe(**recipe), 0)
    workflow.load(weights)
    return workflow


def outside(found: Weights, bounds: Bounded) -> dict[str, float]:
    """By name, how many times its bound the largest error is, where it is more than once."""
    assert found.keys() == bounds.keys()
    ratios = {}
    for name, (exact, bound) in bounds.items():
        error = np.abs(found[name] - exact)
        assert error.shape == np.shape(exact)
        # Where no operation rounds, as behind a gate that is shut, there is no error to allow.
        ratios[name] = float(np.max(error / np.maximum(bound, 1e-30)))
    return {name: ratio for name, ratio in ratios.items() if not ratio <= 1}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_logits_loss_and_every_gradient_are_the_references(
    workflow: str, network: str, case_of: Callable[[str], Case]
) -> None:
    case = case_of(network)
    built = build(workflow, case.network, case.weights)
    assert built.logits(case.images).dtype == np.float32
    assert not case.outside(built)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("workflow", (*WORKFLOWS, "numpy"))
def test_shapes_and_parameters_are_those_of_the_description(workflow: str, network: str) -> None:
    described = network_named(network)
    found = workflows.load(workflow)(described, Recipe(), 0).summary()
    assert found == {
        layer.name: (layer.output_shape, layer.parameters) for layer in described.summary()
    }


@pytest.mark.parametrize("workflow", (*WORKFLOWS, "numpy"))
def test_weights_come_back_as_they_were_loaded(workflow: str) -> None:
    network = network_named("normalised")
    weights = lively_weights(network)
    found = build(workflow, network, weights).weights()
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], value)


@pytest.mark.parametrize("network", SMALL)
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_ten_steps_of_adam_are_the_references(workflow: str, network: str, mnist: Data) -> None:
    described = network_named(network)
    weights, recipe = lively_weights(described), Recipe(learning_rate=0.01)
    batches = batches_of(mnist, 10, 10)
    built = build(workflow, described, weights, learning_rate=0.01)
    bounds = rounding.training_bounds(described, recipe, weights, batches, RUNS)
    for (images, labels), bound in zip(batches, bounds, strict=True):
        loss = built.step(images, labels)
        assert not outside(built.weights() | {"loss": np.array(loss)}, bound)


def test_the_first_twenty_losses_of_the_article_agree_to_rounding(mnist: Data) -> None:
    # Five images a batch: the reference has to take these steps once for each Monte Carlo run.
    network, recipe = network_named("article"), Recipe.load("article")
    weights, batches = network.initial_weights(0), batches_of(mnist, 20, 5)
    bounds = rounding.training_bounds(network, recipe, weights, batches, 4)
    for name in WORKFLOWS:
        built = workflows.load(name)(network, recipe, 0)
        built.load(weights)
        for batch, bound in zip(batches, bounds, strict=True):
            assert not outside({"loss": np.array(built.step(*batch))}, {"loss": bound["loss"]})


def batches_of(mnist: Data, count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    images, labels = mnist.train.images, mnist.train.labels.astype(np.int64)
    return [
        (images[i * size : (i + 1) * size], labels[i * size : (i + 1) * size]) for i in range(count)
    ]


def with_layers(network: Network, **changes: dict[str, Any]) -> Network:
    """The network with other values for the named layers."""
    data = network.to_dict()
    data["layers"] = [layer | changes.get(layer["name"], {}) for layer in data["layers"]]
    return Network.from_dict(data)


@pytest.mark.parametrize(
    ("network", "changes"),
    [
        ("article", {"max_pool_2": {"kind": "average_pool"}}),
        ("leaky", {"conv_4": {"slope": 0.1001}}),
        ("geometry", {"conv_1": {"activation": "gelu"}}),
        ("normalised", {"batch_norm_2": {"epsilon": 0.0101}}),
    ],
)
def test_another_network_is_outside_the_bounds(
    network: str, changes: dict[str, Any], case_of: Callable[[str], Case]
) -> None:
    case = case_of(network)
    built = build("tensorflow", with_layers(case.network, **changes), case.weights)
    assert case.outside(built)


@pytest.mark.parametrize("weight", ["conv_1/kernel", "conv_4/kernel", "output/kernel"])
def test_one_weight_off_by_a_ten_thousandth_is_outside_the_bounds(
    weight: str, case_of: Callable[[str], Case]
) -> None:
    case = case_of("article")
    changed = case.weights[weight].copy()
    changed.flat[changed.size // 2] += 1e-4
    built = build("tensorflow", case.network, case.weights | {weight: changed})
    assert case.outside(built)


def test_another_epsilon_of_adam_is_outside_the_bounds(mnist: Data) -> None:
    network = network_named("normalised")
    weights, batches = lively_weights(network), batches_of(mnist, 3, 10)
    bounds = rounding.training_bounds(network, Recipe(epsilon=1e-8), weights, batches, RUNS)
    built = build("tensorflow", network, weights, epsilon=1e-7)
    losses = [built.step(*batch) for batch in batches]
    assert outside(built.weights() | {"loss": np.array(losses[-1])}, bounds[-1])
