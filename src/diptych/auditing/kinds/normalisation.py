"""Normalisation."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shapes,
    differ,
    optional_role,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS

EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-2, 1e-12)
"""What frameworks and papers add to the variance."""


def moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and variance over some axes, which stay with length 1."""
    mean = anp.mean(x, axis=axes, keepdims=True)
    return mean, anp.mean((x - mean) ** 2, axis=axes, keepdims=True)


def _batch_moments(x: Array) -> tuple[Array, Array]:
    """Mean and variance of each channel over the batch and all positions, (channels,)."""
    mean, variance = moments(x, tuple(range(x.ndim - 1)))
    return mean.reshape(-1), variance.reshape(-1)


def _scaled(y: Array, parameters: Parameters) -> Array:
    if "gamma" in parameters:
        y = y * parameters["gamma"]
    return y + parameters["beta"] if "beta" in parameters else y


def _batch_norm(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    (x,) = inputs
    mean, variance = parameters["mean"], parameters["variance"]
    if training:
        mean, variance = _batch_moments(x)
    return _scaled((x - mean) / anp.sqrt(variance + node.attributes["epsilon"]), parameters)


def _scale(parameters: Arrays, variance: np.ndarray) -> np.ndarray:
    """By how much a normalisation stretches its input."""
    scale = 1 / np.sqrt(variance)
    return scale * np.abs(parameters["gamma"]) if "gamma" in parameters else scale


def _batch_norm_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    (x,) = inputs
    mean, variance = parameters["mean"], parameters["variance"]
    if training:
        mean, variance = _batch_moments(x)
    variance = variance + node.attributes["epsilon"]
    scale = _scale(parameters, variance)
    size = scale * (np.abs(x) + np.abs(mean)) + np.abs(y)
    if "beta" in parameters:
        size = size + np.abs(parameters["beta"])
    if training:
        size = size + sum(_batch_norm_shared(node, parameters, x, y))
    # A variance taken as E[x²] - E[x]² loses digits where the mean is large.
    return FUNCTION_UNITS * size * (1 + np.square(mean) / variance if training else 1.0)


def _batch_norm_shared(
    node: Node, parameters: Arrays, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    terms = np.sqrt(float(np.prod(x.shape[:-1])))
    axes = tuple(range(x.ndim - 1))
    variance = _batch_moments(x)[1] + node.attributes["epsilon"]
    scale = _scale(parameters, variance)
    of_mean = scale * terms * np.mean(np.abs(x), axes)
    of_variance = np.abs(y - parameters.get("beta", 0.0)) * terms / 2
    return of_mean, of_variance * np.mean(np.square(x), axes) / variance


def scale_and_offset_differences(of_a: Shapes, of_b: Shapes) -> list[Difference]:
    """A scale or an offset that only one of two nodes has."""
    return [
        *optional_role("gamma", of_a, of_b, "layer-kind", "a scale"),
        *optional_role("beta", of_a, of_b, "bias-missing", "an offset"),
    ]


def _differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    differences = []
    if differ(a.attributes["epsilon"], b.attributes["epsilon"]):
        words = [f"epsilon {node.attributes['epsilon']:.6g}" for node in (a, b)]
        changed = with_those_of(a, b, "epsilon")
        differences.append(Difference("batchnorm-epsilon", *words, changed=changed))
    return differences + scale_and_offset_differences(of_a, of_b)


def _hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other epsilons."""
    return [("batchnorm-epsilon", with_attributes(node, epsilon=e)) for e in EPSILONS]


_INITIALISER = "batchnorm-initialiser"

BATCH_NORM = Kind(
    name="batch_norm",
    attributes={
        "epsilon": "float, added to the variance",
        "momentum": "the share of the old moving average that is kept (Keras' sense; 1 minus "
        "PyTorch's)",
        "unbiased": "bool, whether the moving variance takes in n/(n-1) times the batch's variance",
        "statistics": "'moving' if the layer normalises by the moving averages in training too; "
        "may be missing",
    },
    roles={
        "gamma": Role("(channels,), the scale", False, initialiser=_INITIALISER, stir="add"),
        "beta": Role("(channels,), the offset", False, initialiser=_INITIALISER, stir="add"),
        "mean": Role("(channels,)", average=True, initialiser=_INITIALISER, stir="add"),
        "variance": Role("(channels,)", average=True, initialiser=_INITIALISER, stir="scale"),
    },
    words=lambda node: "batch normalisation",
    compute=_batch_norm,
    rounding=_batch_norm_rounding,
    shared_rounding=_batch_norm_shared,
    differences=_differences,
    hypotheses=_hypotheses,
    in_training="statistics",
)
"""Batch normalisation of each channel (Ioffe & Szegedy, 2015)."""

KINDS = (BATCH_NORM,)
