"""Every workflow computes what the reference computes, as far as float32 can.

The bounds are derived in `rounding.py`; the last tests show that real differences, however small,
are outside them.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import elsewhere
import first_losses
import numpy as np
import pytest
import rounding
from elsewhere import ALL, HELD
from networks import NETWORKS, SMALL, lively_weights, network_named
from rounding import Bounded

from diptych.data import Data
from diptych.errors import InputError
from diptych.layers import Layer, Shape
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows import protocol, registry

RUNS = 8
"""Of Monte Carlo arithmetic; see "Confidence" in `rounding.py`."""
IMAGES = 8
CLEAR_IMAGES = 4
"""Those on which no rounding takes a gate past its kink, for the gradients."""
RECIPE = Recipe(learning_rate=0.01)
FEW = (*SMALL, "article", "dense")
"""The networks that each workflow is held to in `make test`: all kinds of layers, and the article's
own; `make test-all` has the zoo."""


@dataclass
class Case:
    """A network with its weights, real images, and what float32 may make of them."""

    network: Network
    weights: Weights
    images: np.ndarray
    clear_images: np.ndarray
    clear_labels: np.ndarray
    bounds: Bounded
    """Of the ``logits``, the ``loss`` and each gradient."""

    def shares(
        self, name: str, network: Network | None = None, weights: Weights | None = None
    ) -> dict[str, float]:
        """Each result's largest error, as a share of its bound; of another network if given."""
        arguments = (network or self.network, weights or self.weights)
        batches = (self.images, self.clear_images, self.clear_labels)
        return shares(elsewhere.run(computed, name, *arguments, *batches), self.bounds)


def computed(
    name: str,
    network: Network,
    weights: Weights,
    images: np.ndarray,
    clear_images: np.ndarray,
    clear_labels: np.ndarray,
) -> Weights:
    """A workflow's ``logits``, ``loss`` and gradients."""
    workflow = build(name, network, weights)
    loss, gradients = workflow.loss_and_gradients(clear_images, clear_labels)
    return gradients | {"loss": np.array(loss), "logits": workflow.logits(images)}


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
            images,
            labels,
            rounding.logits_bounds(network, weights, all_images[:IMAGES], RUNS)
            | rounding.gradients_bounds(network, weights, images, labels, RUNS),
        )

    return lambda name: of_layers(network_named(name).layers)


def build(
    name: str, network: Network, weights: Weights, recipe: Recipe = RECIPE
) -> protocol.Workflow:
    workflow = registry.load(name)(network, recipe, 0)
    workflow.load(weights)
    return workflow


def shares(found: Weights, bounds: Bounded) -> dict[str, float]:
    """By name, the largest error as a share of its bound."""
    assert found.keys() == bounds.keys()
    largest = {}
    for name, (exact, bound) in bounds.items():
        error = np.abs(found[name] - exact)
        assert found[name].dtype == np.float32 or name == "loss"
        assert error.shape == np.shape(exact)
        # Where no operation rounds, as behind a gate that is shut, there is no error to allow.
        largest[name] = float(np.max(error / np.maximum(bound, 1e-30)))
    return largest


def outside(shares: dict[str, float]) -> dict[str, float]:
    """Those that rounding does not explain, or that are no numbers."""
    return {name: share for name, share in shares.items() if not share <= 1}


@pytest.fixture(scope="module")
def shares_of(case_of: Callable[[str], Case]) -> Callable[[str, str], dict[str, float]]:
    """A workflow's shares on a network, computed once for networks with the same layers."""
    kept: dict[tuple[str, int], dict[str, float]] = {}

    def found(workflow: str, network: str) -> dict[str, float]:
        case = case_of(network)
        key = (workflow, id(case))
        kept[key] = kept.get(key) or case.shares(workflow)
        return kept[key]

    return found


@pytest.mark.parametrize(
    "network",
    [
        name if name in FEW else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in NETWORKS
    ],
)
@pytest.mark.parametrize("workflow", HELD)
def test_logits_loss_and_every_gradient_are_the_references(
    workflow: str, network: str, shares_of: Callable[[str, str], dict[str, float]]
) -> None:
    found = shares_of(workflow, network)
    worst = max(found, key=lambda name: found[name])
    print(f"{workflow} {network}: at most {found[worst]:.3f} of the bound, at {worst}")
    assert not outside(found)


def at_zero(name: str, network: Network, weights: Weights) -> Weights:
    """The gradients on a black image."""
    built = build(name, network, weights)
    return built.loss_and_gradients(np.zeros((1, 2, 2, 1), np.uint8), np.array([0]))[1]


@pytest.mark.parametrize("workflow", HELD)
def test_slopes_at_exactly_zero_are_the_references(workflow: str) -> None:
    """Before training, biases are zero, and so is what they make of a blank background."""
    layers: list[dict[str, Any]] = [{"kind": "flatten"}]
    for kind in ("relu", "leaky_relu", "elu", "gelu", "tanh"):  # Relu first: it lets nothing back.
        slope = {"slope": 0.1} if kind == "leaky_relu" else {}
        layers.append({"kind": "dense", "units": 4, "activation": kind, "name": kind} | slope)
    layers.append({"kind": "dense", "units": 3})
    network = Network.from_dict({"input_shape": [2, 2, 1], "layers": layers})
    weights = network.initial_weights(0)
    right = at_zero("numpy", network, weights)
    assert [name for name, value in right.items() if "/bias" in name and not value.all()] == [
        "relu/bias"
    ]
    found = elsewhere.run(at_zero, workflow, network, weights)
    for name, value in right.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=0, err_msg=name)


def summary(name: str, network: Network) -> dict[str, tuple[Shape, int]]:
    return registry.load(name)(network, Recipe(), 0).summary()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("workflow", ALL)
def test_shapes_and_parameters_are_those_of_the_description(workflow: str, network: str) -> None:
    described = network_named(network)
    assert elsewhere.run(summary, workflow, described) == {
        layer.name: (layer.output_shape, layer.parameters) for layer in described.summary()
    }


def weights_back(name: str, network: Network, weights: Weights) -> Weights:
    return build(name, network, weights).weights()


@pytest.mark.parametrize("workflow", ALL)
def test_weights_come_back_as_they_were_loaded(workflow: str) -> None:
    network = network_named("normalised")
    weights = lively_weights(network)
    found = elsewhere.run(weights_back, workflow, network, weights)
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], value)


@pytest.mark.parametrize("workflow", ALL)
def test_weights_that_are_not_the_networks_are_refused(workflow: str) -> None:
    network = network_named("normalised")
    weights = lively_weights(network)
    wrong = {
        "conv_1/kernel has shape": weights | {"conv_1/kernel": weights["output/kernel"]},
        "output/bias is missing": {k: v for k, v in weights.items() if k != "output/bias"},
        "other/bias belongs to no layer": weights | {"other/bias": weights["output/bias"]},
    }
    for said, each in wrong.items():
        with pytest.raises(InputError, match=said):
            elsewhere.run(weights_back, workflow, network, each)


Batch = tuple[np.ndarray, np.ndarray]


def steps(
    name: str, network: Network, weights: Weights, recipe: Recipe, batches: list[Batch]
) -> list[Weights]:
    """For each step, the ``loss`` before it and each weight after it."""
    built = build(name, network, weights, recipe)
    return [{"loss": np.array(built.step(*batch))} | built.weights() for batch in batches]


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
    ("network", "count", "size"), [("geometry", 10, 10), ("normalised", 10, 10)]
)
@pytest.mark.parametrize("workflow", HELD)
def test_steps_of_adam_are_the_references(
    workflow: str,
    network: str,
    count: int,
    size: int,
    mnist: Data,
    trainings: Callable[[str, int, int], list[Bounded]],
) -> None:
    described = network_named(network)
    arguments = (described, lively_weights(described), RECIPE, batches_of(mnist, count, size))
    bounds = trainings(network, count, size)
    for found, bound in zip(elsewhere.run(steps, workflow, *arguments), bounds, strict=True):
        assert not outside(shares(found, bound))


@pytest.mark.parametrize("workflow", HELD)
def test_the_first_twenty_losses_of_the_article_agree_to_rounding(
    workflow: str, mnist: Data
) -> None:
    network, recipe = first_losses.NETWORK, first_losses.RECIPE
    arguments = (network, network.initial_weights(0), recipe, first_losses.batches(mnist))
    found = elsewhere.run(steps, workflow, *arguments)
    for step, (exact, bound) in zip(found, first_losses.losses_and_bounds(), strict=True):
        assert abs(step["loss"] - exact) <= bound


def test_the_first_loss_that_is_kept_is_the_references(mnist: Data) -> None:
    exact_kept, bound_kept = first_losses.losses_and_bounds()[0]
    exact, bound = first_losses.first(*first_losses.batches(mnist)[0])
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
    built = registry.load("tensorflow")(network_named(network), recipe, 0)
    kept = first_losses.losses_and_bounds()
    pairs = zip(first_losses.batches(mnist), kept, strict=True)
    assert any(abs(built.step(*batch) - exact) > bound for batch, (exact, bound) in pairs)


def batches_of(mnist: Data, count: int, size: int) -> list[Batch]:
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
        pytest.param("leaky", {"conv_4": {"slope": 0.1001}}, marks=pytest.mark.exhaustive),
        ("geometry", {"conv_1": {"activation": "gelu"}}),
        ("normalised", {"batch_norm_2": {"epsilon": 0.0101}}),
    ],
)
def test_another_network_is_outside_the_bounds(
    network: str, changes: dict[str, Any], case_of: Callable[[str], Case]
) -> None:
    case = case_of(network)
    assert outside(case.shares("tensorflow", with_layers(case.network, **changes)))


@pytest.mark.parametrize("weight", ["conv_1/kernel", "conv_4/kernel", "output/kernel"])
def test_one_weight_off_by_a_ten_thousandth_is_outside_the_bounds(
    weight: str, case_of: Callable[[str], Case]
) -> None:
    case = case_of("article")
    changed = case.weights[weight].copy()
    changed.flat[np.argmax(np.abs(case.bounds[weight][0]))] += 1e-4
    changed_weights = case.weights | {weight: changed}
    assert outside(case.shares("tensorflow", weights=changed_weights))


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
