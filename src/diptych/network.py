"""Networks as data: an input shape and layers in order.

A network knows its shapes, its parameters, its multiply-adds and its initial weights; it does not
know any framework. Each workflow turns the same description into its own kind of model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, PrivateAttr, model_validator

from diptych.errors import InputError
from diptych.layers import NOT_TRAINED, Conv, Count, Dense, Flatten, Layer, LayerBase, Shape
from diptych.randomness import generator
from diptych.shown import as_html
from diptych.validation import Described

Weights = dict[str, np.ndarray]
"""A network's weights in the one layout that all workflows share: ``layer/weight`` to float32.

Convolution kernels are HWIO (height, width, input channels, filters), dense kernels are
(inputs, units), and ``flatten`` runs over (height, width, channels) with channels fastest.
"""


MOST_LAYERS = 1000


@dataclass(frozen=True)
class LayerSummary:
    """One row of the summary: a layer in its place in the network."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int


class Network(Described):
    """A network's description: ``input_shape`` (height, width, channels) and its layers.

    The last layer is dense and linear, and gives one logit a class. Layers without a name get one
    from their kind and number (``conv_1``), the last one ``output``.

    Raises:
        InputError: from `load` and `from_dict`, with one line that names the layer, where the
            description is not one of a network that can be.
    """

    shelf = "networks"

    name: str = "network"
    recipe: str | None = None
    """The recipe that this network is trained by unless another is named."""
    input_shape: Annotated[
        tuple[Count, Count, Count],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    ]
    layers: tuple[Layer, ...]

    _shapes: tuple[Shape, ...] = PrivateAttr(default=())

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.input_shape))
        return (
            f"<Network {self.name}: {shape} images, {len(self.layers)} layers, "
            f"{self.parameters:,} parameters, {self.classes} classes>"
        )

    __str__ = __repr__

    _repr_html_ = as_html("description:network_summary")

    @model_validator(mode="before")
    @classmethod
    def _name_the_layers(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("layers"), list | tuple):
            return data
        if len(data["layers"]) > MOST_LAYERS:
            raise ValueError(f"it has {len(data['layers']):,} layers, expected up to {MOST_LAYERS}")
        layers = [
            layer.model_dump() if isinstance(layer, LayerBase) else layer
            for layer in data["layers"]
        ]
        counts: dict[str, int] = {}
        named = []
        for position, layer in enumerate(layers):
            if isinstance(layer, dict):
                kind = str(layer.get("kind"))
                counts[kind] = counts.get(kind, 0) + 1
                last = position == len(layers) - 1
                layer = {"name": "output" if last else f"{kind}_{counts[kind]}"} | {
                    key: value for key, value in layer.items() if (key, value) != ("name", "")
                }
            named.append(layer)
        return data | {"layers": tuple(named)}

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        if not self.layers:
            raise ValueError("it has no layers: give it at least flatten and dense")
        shapes: list[Shape] = [self.input_shape]
        seen: set[str] = set()
        for number, layer in enumerate(self.layers, 1):
            try:
                if layer.name in seen:
                    raise ValueError("its name is taken by an earlier layer")
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as problem:
                raise ValueError(f"layer {number} ({layer.name}): {problem}") from None
            seen.add(layer.name)
        last = self.layers[-1]
        if not isinstance(last, Dense) or last.activation != "linear":
            raise ValueError(
                f"layer {len(self.layers)} ({last.name}): the last layer must be dense with "
                "activation linear and a unit a class; the loss applies the softmax"
            )
        if last.units < 2:
            raise ValueError(
                f"layer {len(self.layers)} ({last.name}): units = {last.units}, but a "
                "classification has at least 2 classes"
            )
        self._shapes = tuple(shapes)
        return self

    @property
    def classes(self) -> int:
        """The number of classes of the output layer."""
        return self._shapes[-1][0]

    def steps(self) -> Iterator[tuple[Layer, Shape, Shape]]:
        """Each layer with its input shape and its output shape, in order."""
        yield from zip(self.layers, self._shapes, self._shapes[1:], strict=False)

    def summary(self) -> list[LayerSummary]:
        """The output shape, parameters and multiply-adds of each layer."""
        return [
            LayerSummary(
                layer.name,
                layer.kind,
                after,
                sum(math.prod(shape) for shape in layer.weight_shapes(before).values()),
                layer.multiply_adds(before),
            )
            for layer, before, after in self.steps()
        ]

    def weight_shapes(self) -> dict[str, Shape]:
        """The shape of every weight, by its name in the shared layout."""
        return {
            f"{layer.name}/{weight}": shape
            for layer, before, _ in self.steps()
            for weight, shape in layer.weight_shapes(before).items()
        }

    @property
    def parameters(self) -> int:
        """The number of parameters, trained or not."""
        return sum(math.prod(shape) for shape in self.weight_shapes().values())

    @property
    def trained_parameters(self) -> int:
        """The number of parameters that gradients train."""
        return sum(
            math.prod(shape)
            for name, shape in self.weight_shapes().items()
            if name.split("/")[1] not in NOT_TRAINED
        )

    @property
    def training_multiply_adds(self) -> int:
        """Multiply-adds of one image in a training step: forward, to the weights, to the inputs.

        The first layer that has any needs no gradient of its input, which is the image.
        """
        each = [row.multiply_adds for row in self.summary() if row.multiply_adds]
        return 3 * sum(each) - each[0]

    def initial_weights(self, seed: int) -> Weights:
        """Glorot uniform kernels (Glorot & Bengio, 2010), biases of zero, in float32.

        Both TensorFlow's layers and Keras start so unless told otherwise. Any workflow that starts
        from the same seed starts from these same numbers.
        """
        weights = {}
        for name, shape in self.weight_shapes().items():
            match name.split("/")[1]:
                case "kernel":
                    window = math.prod(shape[:-2])
                    limit = math.sqrt(6 / (window * shape[-2] + window * shape[-1]))
                    draws = generator(seed, f"weights/{name}").uniform(-limit, limit, shape)
                    weights[name] = draws.astype(np.float32)
                case "gamma" | "moving_variance":
                    weights[name] = np.ones(shape, np.float32)
                case _:
                    weights[name] = np.zeros(shape, np.float32)
        return weights

    def check_weights(self, weights: Weights) -> None:
        """Raises InputError unless the weights are this network's, by name and shape."""
        expected = self.weight_shapes()
        if missing := sorted(expected.keys() - weights.keys()):
            raise InputError(f"weights of network {self.name}: {missing[0]} is missing")
        if unknown := sorted(weights.keys() - expected.keys()):
            raise InputError(f"weights of network {self.name}: {unknown[0]} belongs to no layer")
        for name, shape in expected.items():
            if weights[name].shape != shape:
                raise InputError(
                    f"weights of network {self.name}: {name} has shape {weights[name].shape}, "
                    f"expected {shape}"
                )

    def check_data(self, image_shape: Shape, classes: int, data: str) -> None:
        """Raises InputError unless images and classes of that data fit this network."""
        if self.input_shape != image_shape:
            given, expected = ("×".join(map(str, s)) for s in (image_shape, self.input_shape))
            raise InputError(
                f"network {self.name} takes {expected} images (height×width×channels), "
                f"data {data} has {given}"
            )
        if self.classes != classes:
            raise InputError(
                f"network {self.name}, layer {len(self.layers)} ({self.layers[-1].name}): "
                f"{self.classes} units, data {data} has {classes} classes"
            )

    def check_cropped(self, image_shape: Shape) -> None:
        """Raises InputError unless the layers up to the first flatten take smaller images too."""
        shape = image_shape
        for number, (layer, _, _) in enumerate(self.steps(), 1):
            if isinstance(layer, Flatten):
                return
            try:
                shape = layer.output_shape(shape)
            except ValueError as problem:
                given = "×".join(map(str, image_shape))
                raise InputError(
                    f"network {self.name}, layer {number} ({layer.name}), for images cropped to "
                    f"{given}: {problem}; or let the recipe crop less (crop = 0 for nothing)"
                ) from None

    def adapted(self, image_shape: Shape, classes: int) -> Self:
        """The same layers for other images and another number of classes."""
        data = self.to_dict()
        data["input_shape"] = list(image_shape)
        data["layers"][-1]["units"] = classes
        return self.from_dict(data)

    def frozen_weights(self, convolutions: int) -> frozenset[str]:
        """The names of the trained weights of so many convolutions, from the first on, and of all
        layers before them; of all convolutions if there are no more."""
        places = [i for i, layer in enumerate(self.layers) if isinstance(layer, Conv)]
        if not (chosen := places[:convolutions]):
            return frozenset()
        frozen = {layer.name for layer in self.layers[: chosen[-1] + 1]}
        parts = (name.split("/") for name in self.weight_shapes())
        return frozenset(
            f"{layer}/{weight}"
            for layer, weight in parts
            if layer in frozen and weight not in NOT_TRAINED
        )

    def with_dropout_scaled(self, scale: float) -> Self:
        """The same network with every dropout rate multiplied; the same one at inference."""
        if scale == 1:
            return self
        data = self.to_dict()
        for layer in data["layers"]:
            if layer["kind"] == "dropout":
                layer["rate"] *= scale
        return self.from_dict(data)
