"""Every workflow computes what the reference computes, as far as float32 can.

The bounds are derived in `rounding.py`; the last tests show that real differences, however small,
are outside them.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import first_losses
import numpy as np
import pytest
import rounding
from networks import NETWORKS, lively_weights, network_named
from rounding import Bounded

from diptych import workflows
from diptych.data import Data
from diptych.network import Layer, Network, Weights
from diptych.recipe import Recipe
from support import WORKFLOWS

RUNS = 8
"""Of Monte Carlo arithmetic; see "Confidence" in `rounding.py`."""
IMAGES = 8
CLEAR_IMAGES = 4
"""Those on which no rounding takes a gate past its kink, for the gradients."""
RECIPE = Recipe(learning_rate=0.01)


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

    def shares(self, workflow: workflows.Workflow) -> dict[str, float]:
        """By logits, loss and gradient: the largest error, as a share of its bound."""
        logits = shares({"logits": workflow.logits(self.images)}, self.logits)
        loss, gradients = workflow.loss_and_gradients(self.clear_images, self.clear_labels)
        return logits | shares(gradients | {"loss": np.array(loss)}, self.gradients)


@pytest.fixture(scope="module")
def case_of(mnist: Data) -> Callable[[str], Case]:
    """Computes the bounds once for all workflows, and once for networks with the same layers."""
    all_images, all_labels = mnist.test.images, mnist.test.labels

    @cache
    def of_layers(layers: tuple[Layer, ...]) -> Case:
        network = Network(input_shape=(28, 28, 1), layers=layers)
        weights = lively_weights(network)
        clear: list[int] = []
        for start in itertools.count(0, IMAGES):
            some = all_images[start : start + IMAGES]
            are_clear = rounding.clear_images(network, weights, some, True, RUNS)
            clear += (start + np.flatnonzero(are_clear)).tolist()
            if len(clear) >= CLEAR_IMAGES:
                break
        images, labels = all_images[clear[:CLEAR_IMAGES]], all_labels[clear[:CLEAR_IMAGES]]
        return Case(
            network,
            weights,
            all_images[:IMAGES],
            rounding.logits_bounds(network, weights, all_images[:IMAGES], RUNS),
            images,
            labels,
            rounding.gradients_bounds(network, weights, images, labels, RUNS),
        )

    return lambda name: of_layers(network_named(name).layers)


def build(
    name: str, network: Network, weights: Weights, recipe: Recipe = RECIPE
) -> workflows.Workflow:
    workflow = workflows.load(name)(network, recipe, 0)
    workflow.load(weights)
    return workflow


def shares(found: Weights, bounds: Bounded) -> dict[str, float]:
    """By name, the largest error as a share of its bound."""
    assert found.keys() == bounds.keys()
    largest = {}
    for name, (exact, bound) in bounds.items():
        error = np.abs(found[name] - exact)
        assert error.shape == np.shape(exact)
        # Where no operation rounds, as behind a gate that is shut, there is no error to allow.
        largest[name] = float(np.max(error / np.maximum(bound, 1e-30)))
    return largest


def outside(shares: dict[str, float]) -> dict[str, float]:
    """Those that rounding does not explain, or that are no numbers."""
    return {name: share for name, share in shares.items() if not share <= 1}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_logits_loss_and_every_gradient_are_the_references(
    workflow: str, network: str, case_of: Callable[[str], Case]
) -> None:
    case = case_of(network)
    built = build(workflow, case.network, case.weights)
    assert built.logits(case.images).dtype == np.float32
    found = case.shares(built)
    worst = max(found, key=lambda name: found[name])
    print(f"{workflow} {network}: at most {found[worst]:.3f} of the bound, at {worst}")
    assert not outside(found)


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


@pytest.fixture(scope="module")
def trainings(mnist: Data) -> Callable[[str, int, int], list[Bounded]]:
    """Computes the bounds of a few steps on small batches once for all workflows."""

    @cache
    def bounds(network: str, steps: int, size: int) -> list[Bounded]:
        described, batches = network_named(network), batches_of(mnist, steps, size)
        weights = lively_weights(described)
        return rounding.training_bounds(described, RECIPE, weights, batches, RUNS)

    return bounds


@pytest.mark.parametrize(
    ("network", "steps", "size"), [("geometry", 10, 10), ("normalised", 10, 10), ("article", 3, 5)]
)
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_steps_of_adam_are_the_references(
    workflow: str,
    network: str,
    steps: int,
    size: int,
    mnist: Data,
    trainings: Callable[[str, int, int], list[Bounded]],
) -> None:
    described = network_named(network)
    built = build(workflow, described, lively_weights(described), RECIPE)
    bounds = trainings(network, steps, size)
    for batch, bound in zip(batches_of(mnist, steps, size), bounds, strict=True):
        loss = built.step(*batch)
        assert not outside(shares(built.weights() | {"loss": np.array(loss)}, bound))


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_first_twenty_losses_of_the_article_agree_to_rounding(
    workflow: str, mnist: Data
) -> None:
    built = workflows.load(workflow)(first_losses.NETWORK, first_losses.RECIPE, 0)
    bounds = first_losses.losses_and_bounds()
    for batch, (exact, bound) in zip(first_losses.batches(mnist), bounds, strict=True):
        assert abs(built.step(*batch) - exact) <= bound


def test_the_first_loss_that_is_kept_is_the_references(mnist: Data) -> None:
    kept, batches = first_losses.losses_and_bounds(), first_losses.batches(mnist)[:1]
    found = first_losses.compute(batches)
    for (exact, bound), (exact_kept, bound_kept) in zip(found, kept, strict=False):
        assert exact == pytest.approx(exact_kept, rel=1e-10)
        assert bound == pytest.approx(bound_kept, rel=1e-4)


@pytest.mark.parametrize(
    ("network", "changes"),
    [("article-tensorflow", {}), ("article", {"learning_rate": 0.00101})],
)
def test_the_first_losses_of_another_training_do_not_agree(
    network: str, changes: dict[str, Any], mnist: Data
) -> None:
    recipe = first_losses.RECIPE.with_changes(**changes)
    built = workflows.load("tensorflow")(network_named(network), recipe, 0)
    kept = first_losses.losses_and_bounds()
    pairs = zip(first_losses.batches(mnist), kept, strict=True)
    assert any(abs(built.step(*batch) - exact) > bound for batch, (exact, bound) in pairs)


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
    assert outside(case.shares(built))


@pytest.mark.parametrize("weight", ["conv_1/kernel", "conv_4/kernel", "output/kernel"])
def test_one_weight_off_by_a_ten_thousandth_is_outside_the_bounds(
    weight: str, case_of: Callable[[str], Case]
) -> None:
    case = case_of("article")
    changed = case.weights[weight].copy()
    changed.flat[np.argmax(np.abs(case.gradients[weight][0]))] += 1e-4
    built = build("tensorflow", case.network, case.weights | {weight: changed})
    assert outside(case.shares(built))


@pytest.mark.parametrize("changes", [{"epsilon": 1e-8}, {"beta_2": 0.9991}, {"beta_1": 0.901}])
def test_another_adam_is_outside_the_bounds(
    changes: dict[str, Any], mnist: Data, trainings: Callable[[str, int, int], list[Bounded]]
) -> None:
    network = network_named("normalised")
    recipe = RECIPE.with_changes(**changes)
    built = build("tensorflow", network, lively_weights(network), recipe)
    losses = [built.step(*batch) for batch in batches_of(mnist, 3, 10)]
    third = trainings("normalised", 10, 10)[2]
    assert outside(shares(built.weights() | {"loss": np.array(losses[-1])}, third))
