"""Training by each workflow: repeated, stopped anywhere, resumed, and stopped early."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import elsewhere
import numpy as np
import pytest
from elsewhere import ALL, HELD
from safetensors.numpy import load, save

from diptych.data import Data
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows import registry
from diptych.workflows.progress import Progress, State

RECIPE = Recipe(
    epochs=2, batch_size=8, learning_rate=0.01, schedule="one-cycle", shift=1
).with_changes(averaging=0.9, rotation=10.0, elastic=0.5)
"""42 steps an epoch; the last batch of each has 2 images."""
TURNING = RECIPE.with_changes(crop=0.28, crop_share=0.74, frozen_after=(0.24,))
"""The first 62 steps see cropped images, until 20 steps into the second epoch; from the 21st step
on the convolution is frozen."""
NETWORK = Network.from_dict(
    {
        "name": "fit",
        "input_shape": [28, 28, 1],
        "layers": [
            {"kind": "conv", "filters": 4, "kernel": 4, "stride": 3, "padding": "valid"},
            {"kind": "batch_norm", "momentum": 0.9},
            {"kind": "activation", "activation": "relu"},
            {"kind": "max_pool", "size": 2},
            {"kind": "dropout", "rate": 0.2},
            {"kind": "flatten"},
            {"kind": "dense", "units": 10},
        ],
    }
)

# A workflow's tests come one after the other: each process that tests has one of its own for Keras
# on another backend, and an uninterrupted training to hold others against.
OF_EACH = pytest.mark.parametrize("name", ALL, scope="module")
OF_EACH_HELD = pytest.mark.parametrize("name", HELD, scope="module")

Place = tuple[int, int]
"""Epochs finished, and steps done in the next."""


@dataclass
class Watcher:
    """A monitor that keeps every state, as a checkpoint would, and may stop at a place."""

    weights_now: Callable[[], Weights]
    stop_at: Place | None = None
    checkpoints: dict[Place, tuple[bytes, str]] = field(default_factory=dict)
    weights: list[Weights] = field(default_factory=list)
    """After each epoch."""

    def advanced(self, progress: Progress, state: Callable[[], State]) -> bool:
        here = (progress.epoch, progress.step)
        self.checkpoints[here] = save(state()), json.dumps(progress.to_dict())
        return here == self.stop_at

    def epoch_ended(self, progress: Progress, state: Callable[[], State]) -> bool:
        self.weights.append(self.weights_now())
        return self.advanced(progress, state)


@dataclass
class Trained:
    """What is left of a training."""

    checkpoints: dict[Place, tuple[bytes, str]]
    weights_of_epochs: list[Weights]
    progress: Progress
    weights: Weights
    state: State

    def history(self) -> list[dict[str, Any]]:
        """What was measured, but for the seconds, which no two trainings share."""
        return [
            {k: v for k, v in vars(epoch).items() if not k.endswith("seconds")}
            for epoch in self.progress.history
        ]


def train(
    name: str,
    data: Data,
    recipe: Recipe = TURNING,
    network: Network = NETWORK,
    seed: int = 0,
    stop_at: Place | None = None,
    checkpoint: tuple[bytes, str] | None = None,
) -> Trained:
    """A training by that workflow, from a checkpoint on if one is given."""
    arguments = (data, recipe, network, seed, stop_at, checkpoint)
    return elsewhere.run(trained_here, name, *arguments)


def trained_here(
    name: str,
    data: Data,
    recipe: Recipe,
    network: Network,
    seed: int,
    stop_at: Place | None,
    checkpoint: tuple[bytes, str] | None,
) -> Trained:
    workflow = registry.load(name)(network, recipe, seed)
    watcher, progress, state = Watcher(workflow.weights, stop_at), Progress(), None
    if checkpoint:
        state, progress = load(checkpoint[0]), Progress.from_dict(json.loads(checkpoint[1]))
    workflow.fit(data, watcher, progress, state)
    last = (progress.epoch, progress.step)
    left, state = watcher.checkpoints, load(watcher.checkpoints[last][0])
    return Trained(left, watcher.weights, progress, workflow.weights(), state)


def assert_same(one: Trained, other: Trained) -> None:
    """Both ended with the same bits: weights, everything in the checkpoint, what was measured."""
    for ours, theirs in ((one.weights, other.weights), (one.state, other.state)):
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []
    assert one.progress.finished
    assert one.history() == other.history()


@pytest.fixture(scope="module")
def whole(digits: Data) -> Callable[[str], Trained]:
    """A training that nothing interrupted, once for each workflow."""
    return cache(lambda name: train(name, digits))


@OF_EACH
def test_another_seed_trains_to_other_weights(
    name: str, digits: Data, whole: Callable[[str], Trained]
) -> None:
    other = train(name, digits, seed=1, stop_at=(0, 20))
    at_the_same_place = load(whole(name).checkpoints[0, 20][0])
    assert other.state.keys() == at_the_same_place.keys()
    assert any(not np.array_equal(v, at_the_same_place[k]) for k, v in other.state.items())
    assert other.weights["output/kernel"].std() > 0


@OF_EACH
def test_a_training_goes_on_from_any_checkpoint_as_if_nothing_had_been(
    name: str, digits: Data, whole: Callable[[str], Trained]
) -> None:
    checkpoints = whole(name).checkpoints
    # Around the smaller last batch, or between epochs; others are in the next test.
    places = {(0, 41), (0, 42), (1, 0)} & checkpoints.keys()
    assert len(places) >= 2  # Keras is not asked after an epoch's last batch.
    for place in sorted(places)[:2]:
        assert_same(train(name, digits, checkpoint=checkpoints[place]), whole(name))


@OF_EACH
def test_a_training_repeats_bit_for_bit_however_often_it_is_stopped(
    name: str, digits: Data, whole: Callable[[str], Trained]
) -> None:
    checkpoint = None
    # Where the convolution freezes, and where the images stop being cropped.
    for stop_at in ((0, 20), (1, 20)):
        stopped = train(name, digits, stop_at=stop_at, checkpoint=checkpoint)
        assert (stopped.progress.epoch, stopped.progress.step) == stop_at
        assert not stopped.progress.finished
        checkpoint = stopped.checkpoints[stop_at]
    assert_same(train(name, digits, checkpoint=checkpoint), whole(name))


@OF_EACH
def test_every_epoch_is_measured(name: str, whole: Callable[[str], Trained]) -> None:
    trained = whole(name)
    first, second = trained.history()
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert (trained.progress.epoch, trained.progress.step) == (2, 0)
    for epoch in (first, second):
        assert epoch["last_batch_accuracy"] in (0, 0.5, 1)  # of 2 images
        assert 0 < epoch["train_loss"] < 5
    assert second["train_accuracy"] > first["train_accuracy"] > 0.1
    assert all(epoch.train_seconds > 0 for epoch in trained.progress.history)


@OF_EACH
def test_a_frozen_layer_stays_as_it_is(name: str, whole: Callable[[str], Trained]) -> None:
    start, (first, second) = NETWORK.initial_weights(0), whole(name).weights_of_epochs
    for weight in ("conv_1/kernel", "conv_1/bias"):
        assert not np.array_equal(first[weight], start[weight])
        np.testing.assert_array_equal(second[weight], first[weight])
    for weight in ("batch_norm_1/gamma", "batch_norm_1/moving_mean", "output/kernel"):
        assert not np.array_equal(second[weight], first[weight])


WITHOUT_DROPOUT = NETWORK.with_dropout_scaled(0)
GENTLE = RECIPE.with_changes(learning_rate=0.001, frozen_after=(0.0,))
AVERAGED = RECIPE.with_changes(
    averaging=0.98, learning_rate=0.003, schedule="constant", early_stopping=5
)


@pytest.fixture(scope="module")
def gentle(digits: Data) -> Trained:
    """The reference's training by that recipe, which all workflows are held against."""
    return train("numpy", digits, GENTLE, WITHOUT_DROPOUT)


@pytest.fixture(scope="module")
def averaged_reference(digits: Data) -> Trained:
    return train("numpy", digits, AVERAGED, WITHOUT_DROPOUT)


@OF_EACH_HELD
def test_without_dropout_the_workflows_train_to_the_same_measurements(
    name: str, digits: Data, gentle: Trained
) -> None:
    history = train(name, digits, GENTLE, WITHOUT_DROPOUT).history()
    for found, right in zip(history, gentle.history(), strict=True):
        # Roundings grow in 84 steps, and a digit in 330 may change sides.
        for key in ("last_batch_loss", "train_loss", "validation_loss"):
            assert found[key] == pytest.approx(right[key], rel=1e-3)
        for key in ("train_accuracy", "validation_accuracy"):
            assert found[key] == pytest.approx(right[key], abs=0.02)


@OF_EACH
def test_early_stopping_keeps_the_best_epochs_weights(name: str, digits: Data) -> None:
    # A rate this high does not get better for long.
    recipe = RECIPE.with_changes(
        averaging=0.0,
        epochs=40,
        early_stopping=2,
        learning_rate=0.1,
        schedule="constant",
        batch_size=33,
    )
    whole = train(name, digits, recipe)
    losses = [epoch["validation_loss"] for epoch in whole.history()]
    best = int(np.argmin(losses)) + 1
    assert whole.progress.finished
    assert len(losses) == best + 2 < 40
    assert whole.progress.best_epoch == best
    for key, value in whole.weights_of_epochs[best - 1].items():
        assert np.array_equal(whole.weights[key], value)
    for place in ((best, 0), (best + 1, 0)):
        assert_same(train(name, digits, recipe, checkpoint=whole.checkpoints[place]), whole)


@OF_EACH
def test_early_stopping_that_never_strikes_still_keeps_the_best(name: str, digits: Data) -> None:
    recipe = RECIPE.with_changes(
        averaging=0.0,
        epochs=2,
        early_stopping=3,
        learning_rate=0.2,
        schedule="constant",
        batch_size=33,
    )
    trained = train(name, digits, recipe)
    best = int(np.argmin([epoch["validation_loss"] for epoch in trained.history()])) + 1
    assert (trained.progress.best_epoch, trained.progress.waited) == (best, 2 - best)
    for key, value in trained.weights_of_epochs[best - 1].items():
        assert np.array_equal(trained.weights[key], value)


def logits(name: str, network: Network, weights: Weights, images: np.ndarray) -> np.ndarray:
    workflow = registry.load(name)(network, RECIPE, 0)
    workflow.load(weights)
    return workflow.logits(images)


@OF_EACH
def test_averages_validate_and_are_kept(
    name: str, digits: Data, averaged_reference: Trained
) -> None:
    """A mean over nearly all steps is far from the last weights, and near the reference's mean."""
    averaged = train(name, digits, AVERAGED, WITHOUT_DROPOUT)
    recipe = AVERAGED.with_changes(averaging=0.0, early_stopping=None)
    newest = train(name, digits, recipe, WITHOUT_DROPOUT)
    for (key, kept), last in zip(averaged.weights.items(), newest.weights.values(), strict=True):
        if key.split("/")[1] in ("kernel", "gamma"):
            assert not np.allclose(kept, last, rtol=0.01)
            np.testing.assert_allclose(kept, averaged_reference.weights[key], atol=2e-3)
    found = elsewhere.run(logits, name, NETWORK, averaged.weights, digits.validation.images)
    right = np.mean(found.argmax(1) == digits.validation.labels)
    assert averaged.progress.history[-1].validation_accuracy == pytest.approx(right)
    for place in ((0, 20), (1, 0)):
        checkpoint = averaged.checkpoints[place]
        resumed = train(name, digits, AVERAGED, WITHOUT_DROPOUT, checkpoint=checkpoint)
        assert_same(resumed, averaged)


def in_bfloat16(name: str, data: Data) -> dict[str, Any]:
    """A training in bfloat16, and its network's logits and gradients beside those in float32."""
    workflow = registry.load(name)(NETWORK, RECIPE.with_changes(precision="bfloat16"), 0)
    exact = registry.load(name)(NETWORK, RECIPE, 0)
    progress, images, labels = Progress(), data.test.images, data.test.labels
    workflow.fit(data, Watcher(workflow.weights), progress)
    exact.load(workflow.weights())
    return {"accuracy": progress.history[1].train_accuracy} | {
        key: (each.logits(images), *each.loss_and_gradients(images, labels))
        for key, each in (("bfloat16", workflow), ("float32", exact))
    }


@OF_EACH_HELD
def test_bfloat16_trains_and_reports_float32_logits(name: str, digits: Data) -> None:
    found = elsewhere.run(in_bfloat16, name, digits)
    assert found["accuracy"] > 0.3
    (logits, loss, gradients), (exact_logits, exact_loss, _) = found["bfloat16"], found["float32"]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, exact_logits, rtol=1e-5, atol=1e-5)
    assert loss != exact_loss  # bfloat16 has 8 bits: it was really used.
    assert all(gradient.dtype == np.float32 for gradient in gradients.values())


def masks_of(
    name: str, network: Network, weights: Weights, images: np.ndarray, labels: np.ndarray
) -> tuple[list[Weights], list[np.ndarray]]:
    """Gradients before each of two steps, and the logits twice after them."""
    workflow = registry.load(name)(network, Recipe(learning_rate=1e-9), 0)
    workflow.load(weights)
    gradients = []
    for _ in range(2):
        gradients.append(workflow.loss_and_gradients(images, labels)[1])
        workflow.step(images, labels)
    return gradients, [workflow.logits(images) for _ in range(2)]


@pytest.mark.parametrize("rate", [0.25, 0.3])
@OF_EACH
def test_dropout_drops_as_often_as_it_says_and_scales_the_rest(name: str, rate: float) -> None:
    # One dense layer of zeros after the dropout: its kernel's gradient shows what got through.
    size = 64
    layers = [
        {"kind": "flatten"},
        {"kind": "dropout", "rate": rate},
        {"kind": "dense", "units": 2},
    ]
    network = Network.from_dict({"input_shape": [size, size, 1], "layers": layers})
    weights = {
        "output/kernel": np.zeros((size**2, 2), np.float32),
        "output/bias": np.zeros(2, np.float32),
    }
    images, labels = np.full((1, size, size, 1), 255, np.uint8), np.array([0])
    both, logits = elsewhere.run(masks_of, name, network, weights, images, labels)
    masks = []
    for gradients in both:
        through = -2 * gradients["output/kernel"][:, 0]
        assert set(np.unique(np.round(through, 5))) == {0, np.round(np.float32(1 / (1 - rate)), 5)}
        masks.append(through > 0)
    # Five standard deviations of a binomial share.
    kept = np.mean(masks)
    assert abs(kept - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / (2 * size**2))
    assert not np.array_equal(*masks)
    np.testing.assert_array_equal(logits[0], logits[1])


@OF_EACH
def test_logits_of_no_images_are_no_logits(name: str) -> None:
    weights, none = NETWORK.initial_weights(0), np.empty((0, 28, 28, 1), np.uint8)
    found = elsewhere.run(logits, name, NETWORK, weights, none)
    assert found.shape == (0, 10)
    assert found.dtype == np.float32
