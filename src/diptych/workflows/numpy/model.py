"""The reference: the network in NumPy, in float64, to be read from top to bottom.

What a network computes, how its gradients follow by the chain rule, and one step, in as little code
as says it. Nothing here is made for speed. Tests hold it to finite differences, and the other
workflows to it.
"""

from functools import partial
from typing import assert_never

import numpy as np

from diptych.data.batches import to_float
from diptych.layers import (
    NOT_TRAINED,
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
)
from diptych.network import Network, Weights
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows.numpy import operations as does
from diptych.workflows.numpy.adam import Adam
from diptych.workflows.numpy.operations import Array, Operation


class Model:
    """A network as float64 arrays. The recipe's precision does not matter to it.

    Dropout is the network's own: who wants the recipe's gives
    ``network.with_dropout_scaled(recipe.dropout_scale)``.
    """

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.shapes = {layer.name: before for layer, before, _ in network.steps()}
        initial = network.initial_weights(seed)
        self.values: Weights = {name: value.astype(np.float64) for name, value in initial.items()}
        trained = {k: v for k, v in self.values.items() if k.split("/")[1] not in NOT_TRAINED}
        self.adam = Adam(recipe, trained)
        self.averages = {k: v.copy() for k, v in trained.items() if recipe.averaging}
        self.loss = does.cross_entropy
        self.steps_taken = 0

    def operations(self, layer: Layer, training: bool) -> list[Operation]:
        """The operations of a layer, in order."""
        prefix = layer.name + "/"
        here = [name for name in self.values if name.startswith(prefix)]
        weights = {name.removeprefix(prefix): self.values[name] for name in here}
        match layer:
            case Conv():
                return [partial(does.convolve, layer, weights), partial(does.activate, layer)]
            case Dense():
                return [partial(does.dense, weights), partial(does.activate, layer)]
            case Activate():
                return [partial(does.activate, layer)]
            case MaxPool():
                return [partial(does.max_pool, layer)]
            case AveragePool():
                return [partial(does.average_pool, layer)]
            case BatchNorm():
                return [partial(does.batch_norm, layer, weights, training)]
            case Flatten():
                return [partial(does.flatten, self.shapes[layer.name])]
            case Dropout():
                chance = generator(self.seed, f"dropout/{layer.name}", self.steps_taken)
                return [partial(does.drop, layer.rate, chance)] if training else []
            case _:
                assert_never(layer)

    def pixels(self, images: np.ndarray) -> Array:
        """uint8 images as numbers in [0, 1], scaled in float32 as all workflows have them."""
        return to_float(images).astype(np.float64)

    def run(self, images: np.ndarray, training: bool) -> tuple[list[Array], list]:
        """The input and output of each layer, in order, and each operation's layer and reverse."""
        passed, reverses = [self.pixels(images)], []
        for layer in self.network.layers:
            x = passed[-1]
            for operation in self.operations(layer, training):
                x, reverse = operation(x)
                reverses.append((layer.name, reverse))
            passed.append(x)
        return passed, reverses

    def forward(self, images: np.ndarray, training: bool = False) -> dict[str, Array]:
        """uint8 images (n, height, width, channels) to each layer's output (n, …) by its name."""
        outputs = self.run(images, training)[0][1:]
        return {layer.name: x for layer, x in zip(self.network.layers, outputs, strict=True)}

    def backward(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[float, Weights, list[Array]]:
        """Mean loss, its gradients in float64, and the input and output of each layer, in training.

        The gradients are those of all trained weights that are not frozen.
        """
        passed, reverses = self.run(images, training=True)
        loss, gradient = self.loss(passed[-1], labels)
        gradients: Weights = {}
        for layer, reverse in reversed(reverses):
            gradient, to_weights = reverse(gradient)
            gradients |= {f"{layer}/{name}": value for name, value in to_weights.items()}
        live = (name for name in self.adam.m if name not in frozen)
        return float(loss), {name: gradients[name] for name in live}, passed

    def train_step(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        rate: float,
        frozen: frozenset[str] = frozenset(),
    ) -> tuple[float, float]:
        """One step of Adam on weights that are not frozen; returns loss and accuracy before it."""
        loss, gradients, passed = self.backward(images, labels, frozen)
        self.steps_taken += 1
        self.adam.apply(self.values, gradients, float(rate), self.steps_taken)
        kept = self.recipe.averaging if self.steps_taken > 1 else 0
        for name, average in self.averages.items():
            if name in frozen:
                average[...] = self.values[name]
            else:
                average += (1 - kept) * (self.values[name] - average)
        for layer, x in zip(self.network.layers, passed, strict=False):
            if isinstance(layer, BatchNorm):
                axes = tuple(range(x.ndim - 1))
                for name, now in (("moving_mean", x.mean(axes)), ("moving_variance", x.var(axes))):
                    moving = self.values[f"{layer.name}/{name}"]
                    moving += (1 - layer.momentum) * (now - moving)
        return loss, float(np.mean(passed[-1].argmax(axis=1) == labels))
