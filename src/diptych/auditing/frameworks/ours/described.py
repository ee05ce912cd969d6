"""A network's description as a graph, for those of our workflows whose audit starts from it."""

from typing import Any

import numpy as np

from diptych.auditing.frameworks.ours.submission import Arrays, Epochs, steps_of
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Shape,
)
from diptych.network import Network
from diptych.recipe import Recipe

RESCALE = "rescale_1"
"""The node that makes numbers in [0, 1] of images."""
NOT_EXPRESSED: dict[str, str] = {
    "add": "a network's description is a chain",
    "average": "a network's description is a chain",
    "concatenate": "a network's description is a chain",
    "custom": "every layer of a description is known",
    "divide": "a network's description is a chain",
    "dot_product_attention": "no description has it",
    "embedding": "no description has it",
    "glu": "no description has it",
    "global_average_pool": "no description has it",
    "global_max_pool": "no description has it",
    "group_norm": "no description has it",
    "gru": "no description has it",
    "layer_norm": "no description has it",
    "learned_offset": "no description has it",
    "learned_scale": "no description has it",
    "lstm": "no description has it",
    "matmul": "a network's description is a chain",
    "maximum": "a network's description is a chain",
    "minimum": "a network's description is a chain",
    "multi_head_attention": "no description has it",
    "multiply": "a network's description is a chain",
    "pad": "padding is part of a convolution or a pool",
    "prelu": "no description has it",
    "reshape": "no description has it",
    "rms_norm": "no description has it",
    "unit_norm": "no description has it",
    "simple_rnn": "no description has it",
    "subtract": "a network's description is a chain",
    "adaptive_average_pool": "no description has it",
    "adaptive_max_pool": "no description has it",
    "alpha_dropout": "no description has it",
    "augmentation": "no description has it",
    "conv_transpose": "no description has it",
    "depth_to_space": "no description has it",
    "drop_path": "no description has it",
    "gaussian_dropout": "no description has it",
    "gaussian_noise": "no description has it",
    "rearrange": "no description has it",
    "reduce": "no description has it",
    "repeat": "no description has it",
    "resize": "no description has it",
    "roll": "no description has it",
    "slice": "no description has it",
    "space_to_depth": "no description has it",
    "spatial_dropout": "no description has it",
    "stack": "no description has it",
}
"""Kinds that no description of a network has, each with the reason."""


def graph_of(network: Network) -> Graph:
    """The network after the node that scales its images; an activation is a node of its own."""
    scale = float(np.float32(1 / 255))
    last = Node(RESCALE, "rescale", (INPUT,), network.input_shape, {"scale": scale, "offset": 0.0})
    nodes = [last]
    for layer, before, after in network.steps():
        for name, kind, shape, attributes, parameters in nodes_of(layer, before, after):
            last = Node(name, kind, (last.name,), shape, attributes, parameters)
            nodes.append(last)
    return Graph(network.input_shape, tuple(nodes))


def optimiser_of(recipe: Recipe, rates: np.ndarray) -> dict[str, Any]:
    """The recipe's settings of Adam, with the rate of the first step."""
    return {
        "kind": "adam",
        "learning_rate": float(str(np.float32(rates[0]))),
        "beta_1": recipe.beta_1,
        "beta_2": recipe.beta_2,
        "epsilon": recipe.epsilon,
    }


def batches_of(
    network: Network, recipe: Recipe, seed: int, count: int, epochs: int
) -> list[list[Arrays]]:
    """The batches of each epoch, with examples of which each is its own number."""
    numbers = np.arange(count)
    shape = (count, *network.input_shape)
    x = np.broadcast_to(numbers.reshape(count, 1, 1, 1), shape).astype(np.float32)
    return batches_over(x, numbers, recipe, seed, epochs)


def batches_over(
    x: np.ndarray, y: np.ndarray, recipe: Recipe, seed: int, epochs: int
) -> list[list[Arrays]]:
    """Each epoch's batches over the given examples."""
    epoch = Epochs(recipe, seed)
    return [list(epoch(x, y)) for _ in range(epochs)]


def horizon_of(recipe: Recipe) -> dict[str, Any]:
    """The number of steps of the recipe's training over the training images of MNIST."""
    return {"steps": steps_of(recipe), "source": f"epochs = {recipe.epochs} of the recipe"}


def changes(rates: np.ndarray, steps: int) -> list[tuple[int, list[float]]]:
    """The first rate, and each of the first so many that is another than the one before it."""
    return [
        (step, [float(rate)])
        for step, rate in enumerate(rates[:steps])
        if step == 0 or rate != rates[step - 1]
    ]


def nodes_of(layer: Any, before: Shape, after: Shape) -> list[tuple[str, str, Shape, dict, dict]]:
    """A layer's nodes: each one's name, kind, shape, attributes and parameters.

    The operations of the layer are in the same order: an activation is one of its own.
    """
    kinds: dict[type, str] = {Conv: "conv", Dense: "dense", BatchNorm: "batch_norm"}
    kinds |= {MaxPool: "max_pool", AveragePool: "average_pool", Dropout: "dropout"}
    kinds |= {Flatten: "flatten"}
    nodes = []
    if not isinstance(layer, Activate):
        described = (attributes_of(layer, before), parameters_of(layer))
        nodes.append((layer.name, kinds[type(layer)], after, *described))
    if isinstance(layer, Conv | Dense | Activate) and layer.activation != "linear":
        slope = {"elu": 1.0}.get(layer.activation, layer.slope)
        name = f"{layer.name}/activation" if nodes else layer.name
        about = {"function": layer.activation, "slope": slope}
        nodes.append((name, "activation", after, about, {}))
    return nodes


def attributes_of(layer: Any, before: Shape) -> dict[str, Any]:
    match layer:
        case Conv():
            return windowed(layer, before) | {"dilation": [1, 1], "groups": 1}
        case MaxPool():
            return {"size": list(layer.size)} | windowed(layer, before)
        case AveragePool():
            counted = {"count_padding": False}
            return {"size": list(layer.size)} | windowed(layer, before) | counted
        case BatchNorm():
            momentum = {"momentum": layer.momentum, "unbiased": False}
            return {"epsilon": layer.epsilon} | momentum
        case Dropout():
            return {"rate": layer.rate}
        case Flatten():
            return {"order": "last"}
    return {}


def windowed(layer: Conv | MaxPool | AveragePool, before: Shape) -> dict[str, Any]:
    return {
        "strides": list(layer.steps),
        "padding": [list(pair) for pair in layer.pads(before)],
    }


def parameters_of(layer: Any) -> dict[str, str]:
    match layer:
        case Conv() | Dense():
            return {role: f"{layer.name}/{role}" for role in ("kernel", "bias")}
        case BatchNorm():
            names = {"gamma": "gamma", "beta": "beta"}
            names |= {"mean": "moving_mean", "variance": "moving_variance"}
            return {role: f"{layer.name}/{name}" for role, name in names.items()}
    return {}
