"""What the networks in this folder have in common: the options that plant a fault, and the data.

A function that an audit asks for is named after its network and what is different about it:
``cnn``, ``cnn__slope_0.2``, ``cnn__optimiser_adam__epsilon_1e-08``.
"""

import ast
from dataclasses import dataclass, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Variant:
    """The options, with what they are where nothing is planted."""

    # The first convolution and what follows it.
    units: int = 6
    kernel: int = 3
    stride: int = 1
    padding: str = "same"
    bias: bool = True
    activation: str = "leaky_relu"
    slope: float = 0.3
    pool: str = "max"
    rate: float = 0.25
    extra: bool = False
    """One more dense layer before the last one."""
    instead: str = "conv"
    """``dense``: a dense layer, pixel by pixel, in the place of the second convolution."""
    order: str = "last"
    """How the image is flattened: ``last`` or ``first`` for the channels."""
    momentum: float = 0.99
    """Of batch normalisation, the share that is kept."""
    bn_epsilon: float = 1e-3
    layer: str = ""
    """A kind of layer behind the hidden one of the regression."""
    layer_epsilon: float = 1e-3
    layer_groups: int = 2
    layer_axis: int = 1
    padded: bool = False
    """An embedding's row 0 gets no gradient."""
    layer_limit: float = 2.0
    layer_shared: bool = False
    """One slope for all units."""
    # Sequences.
    gates: str = "sigmoid"
    reset: str = "after"
    """Of the GRU: ``after`` the matrix, or ``before`` it."""
    taken: str = "states"
    """What a layer in both directions gives: its last ``states``, or the outputs at the last
    ``step``."""
    backwards: bool = False
    """Whether the first layer goes through the steps from the last to the first."""
    heads: int = 2
    causal: bool = False
    # Data.
    scale: float = 1 / 255
    swapped: bool = False
    """Height and width of the images."""
    labels: str = "classes"
    """``shifted`` by one, or ``reversed``."""
    # Initial weights.
    initialiser: str = "glorot"
    biases: str = "zeros"
    # Training.
    mode: str = "training"
    softmax: str = "none"
    """``loss``: the network ends in softmax and the loss knows; ``twice``: the loss does not."""
    probabilities: bool = False
    """The loss takes logits for probabilities."""
    reduction: str = "mean"
    broadcast: bool = False
    penalty: float = 0.0
    """Of the squares of the first kernel."""
    constraint: float = 0.0
    """The largest norm of a unit's weights in the last layer."""
    frozen: bool = False
    """The first layer's parameters."""
    cleared: bool = True
    optimiser: str = "sgd"
    rate_of_learning: float = 0.05
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    decay: float = 0.0
    clip: float = 0.0
    schedule: bool = False
    order_of_batches: str = "shuffled"
    last_batch: bool = True
    precision: str = "float32"
    explicit: bool = False
    """The same network, written out in more layers."""


def parse(name: str) -> tuple[str, Variant]:
    """A function's name to its network and variant."""
    network, *changes = name.split("__")
    known = sorted((field.name for field in fields(Variant)), key=len, reverse=True)
    options: dict[str, Any] = {}
    for change in changes:
        option = next(each for each in known if change.startswith(each + "_"))
        text = change[len(option) + 1 :]
        try:
            options[option] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[option] = text
    return network, Variant(**options)


def prepare_images(v: Variant, images: np.ndarray, labels: np.ndarray):
    """uint8 images (n, 28, 28, 1) and labels (n,) as the variant has them: float32, int64."""
    x = images.astype(np.float32) * np.float32(v.scale)
    if v.swapped:
        x = x.transpose(0, 2, 1, 3)
    y = labels.astype(np.int64)
    if v.labels == "shifted":
        y = (y + 1) % 10
    if v.labels == "reversed":
        y = 9 - y
    return x, y


def houses() -> tuple[np.ndarray, np.ndarray]:
    """A regression: 13 numbers a house, and a price, (n, 13) and (n, 1)."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=(64, 13)).astype(np.float32)
    price = x @ chance.normal(size=(13, 1)) + 0.1 * chance.normal(size=(64, 1))
    return x, price.astype(np.float32)


def signals() -> tuple[np.ndarray, np.ndarray]:
    """A classification of signals: (n, 40, 2), and three classes."""
    chance = np.random.default_rng(1)
    time = np.arange(40) / 40
    y = chance.integers(3, size=64)
    waves = np.sin(2 * np.pi * (y[:, None] + 1) * time + chance.uniform(0, 6, (64, 1)))
    x = np.stack([waves, np.roll(waves, 3, axis=1)], axis=-1)
    return (x + 0.1 * chance.normal(size=x.shape)).astype(np.float32), y.astype(np.int64)


def short_signals() -> tuple[np.ndarray, np.ndarray]:
    """The signals with every fourth step, (n, 10, 2), and their classes."""
    x, y = signals()
    return x[:, ::4].copy(), y


def texts() -> tuple[np.ndarray, np.ndarray]:
    """A classification of texts: 12 words of 20, (n, 12), and three classes."""
    chance = np.random.default_rng(2)
    return chance.integers(0, 20, (64, 12)), chance.integers(0, 3, 64)


def batches_of(v: Variant, size: int, seed: int):
    """A function that gives an epoch's batches of arrays; shuffled anew every time."""
    chance = np.random.default_rng(seed)

    def batches(x, y):
        count = len(x)
        order = chance.permutation(count) if v.order_of_batches == "shuffled" else np.arange(count)
        for start in range(0, count, size):
            rows = order[start : start + size]
            if v.last_batch or len(rows) == size:
                yield x[rows], y[rows]

    return batches
