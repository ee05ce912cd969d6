"""Normalisation."""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Sequence
from dataclasses import replace

import autograd.numpy as anp
import numpy as np

from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.kind import (
    Array,
    Difference,
    Kind,
    Parameters,
    Role,
    Shape,
    Shapes,
    differ,
    optional_role,
    with_attributes,
    with_those_of,
)
from diptych.auditing.kinds.rounding import FUNCTION_UNITS

EPSILONS = (1e-3, 1e-5, 1e-6, 1e-4, 1e-2, 1e-7, 1e-8, 1e-12)
"""The epsilons of frameworks and papers."""


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
    """The factor by which a normalisation scales its input."""
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
    optional=frozenset({"statistics"}),
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


def _along(x: Array, axes: Sequence[int], parameters: Parameters) -> Parameters:
    """The parameters, one number for each place along some axes of x, so that they broadcast to x.

    Args:
        x: (n, …).
        axes: negative, in ascending order.
        parameters: by role, each with the sizes of those axes.
    """
    shape = [size if i - x.ndim in axes else 1 for i, size in enumerate(x.shape)]
    return {role: anp.reshape(value, shape) for role, value in parameters.items()}


def own_statistics_rounding(
    x: np.ndarray,
    y: np.ndarray,
    moments_of_x: tuple[np.ndarray, np.ndarray],
    terms: float,
    parameters: Arrays,
) -> np.ndarray:
    """The bound of rounding if each example is normalised by its own statistics.

    Args:
        x: the input.
        y: the output; all arrays broadcast to its shape.
        moments_of_x: the mean, and the variance with epsilon.
        terms: how many numbers each mean is of.
        parameters: ``gamma`` and ``beta``, if there are any.
    """
    mean, variance = moments_of_x
    scale = _scale(parameters, variance)
    beta = parameters.get("beta", np.zeros(1))
    size = scale * (np.abs(x) + np.abs(mean)) + np.abs(y) + np.abs(beta)
    # Sums of so many terms: in random walks, their errors grow with the root of their number.
    walk = np.sqrt(terms)
    size = size + scale * walk * np.abs(mean) + np.abs(y - beta) * walk / 2
    # The mean of numbers of both signs is off by what their own size is rounded by.
    size = size + scale * np.sqrt(variance + np.square(mean))
    # A variance taken as E[x²] - E[x]² loses digits where the mean is large.
    return FUNCTION_UNITS * size * (1 + np.square(mean) / variance)


def _statistics(node: Node, x: Array) -> tuple[Array, Array]:
    """The subtracted mean, and the variance (RMS normalisation: the mean square) with epsilon."""
    axes = tuple(node.attributes["axes"])
    if node.kind == "layer_norm":
        mean, variance = moments(x, axes)
        return mean, variance + node.attributes["epsilon"]
    mean_square = anp.mean(x**2, axis=axes, keepdims=True)
    return np.zeros((1,) * x.ndim), mean_square + node.attributes["epsilon"]


def _over_axes(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    (x,) = inputs
    mean, variance = _statistics(node, x)
    y = (x - mean) / anp.sqrt(variance)
    return _scaled(y, _along(x, node.attributes["axes"], parameters))


def _over_axes_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    (x,), axes = inputs, node.attributes["axes"]
    terms = float(np.prod([x.shape[axis] for axis in axes]))
    along = dict(_along(x, axes, parameters))
    return own_statistics_rounding(x, y, _statistics(node, x), terms, along)


def _over_axes_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    differences = []
    axes = [list(node.attributes["axes"]) for node in (a, b)]
    if axes[0] != axes[1]:
        words = [f"over the axes {', '.join(map(str, each))}" for each in axes]
        changed = with_those_of(a, b, "axes") if of_a == of_b else None
        differences.append(Difference("normalisation-axes", *words, changed=changed))
    return differences + epsilon_differences(a, b) + scale_and_offset_differences(of_a, of_b)


def epsilon_differences(a: Node, b: Node) -> list[Difference]:
    """The difference of two nodes, neither of them batch normalisation, in epsilon."""
    if not differ(a.attributes["epsilon"], b.attributes["epsilon"]):
        return []
    words = [f"epsilon {node.attributes['epsilon']:.6g}" for node in (a, b)]
    changed = with_those_of(a, b, "epsilon")
    return [Difference("normalisation-epsilon", *words, changed=changed)]


def _over_axes_hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other epsilons, and other axes."""
    last = [list(range(-count, 0)) for count in range(1, x.ndim)]
    return [
        *(("normalisation-epsilon", with_attributes(node, epsilon=e)) for e in EPSILONS),
        *(("normalisation-axes", with_attributes(node, axes=axes)) for axes in last),
    ]


_SCALE_AND_OFFSET = {
    role: Role(meaning, False, initialiser="normalisation-initialiser", stir="add")
    for role, meaning in (("gamma", "the scale"), ("beta", "the offset"))
}

LAYER_NORM = Kind(
    name="layer_norm",
    attributes={
        "epsilon": "float, added to the variance",
        "axes": "list of negative int, ascending: the axes that mean and variance are over, and "
        "that scale and offset have",
    },
    roles=_SCALE_AND_OFFSET,
    words=lambda node: "layer normalisation",
    compute=_over_axes,
    rounding=_over_axes_rounding,
    differences=_over_axes_differences,
    hypotheses=_over_axes_hypotheses,
)
"""Layer normalisation of each example over some axes (Ba et al., 2016)."""

RMS_NORM = Kind(
    name="rms_norm",
    attributes={
        "epsilon": "float, added to the mean square",
        "axes": "list of negative int, ascending: the axes that the mean square is over, and that "
        "the scale has",
    },
    roles={"gamma": _SCALE_AND_OFFSET["gamma"]},
    words=lambda node: "RMS normalisation",
    compute=_over_axes,
    rounding=_over_axes_rounding,
    differences=_over_axes_differences,
    hypotheses=_over_axes_hypotheses,
)
"""Division of each example by its root mean square over some axes (Zhang & Sennrich, 2019)."""


def _grouped(node: Node, x: Array) -> Array:
    """The values as (n, *spatial, groups, channels / groups)."""
    return anp.reshape(x, (*x.shape[:-1], node.attributes["groups"], -1))


def _within_groups(x: Array) -> tuple[int, ...]:
    """The axes of `_grouped` that a group's mean and variance are over."""
    return (*range(1, x.ndim - 2), x.ndim - 1)


def _group_norm(
    node: Node, parameters: Parameters, inputs: Sequence[Array], training: bool
) -> Array:
    grouped = _grouped(node, inputs[0])
    mean, variance = moments(grouped, _within_groups(grouped))
    y = (grouped - mean) / anp.sqrt(variance + node.attributes["epsilon"])
    return _scaled(anp.reshape(y, inputs[0].shape), parameters)


def _group_norm_rounding(
    node: Node, parameters: Arrays, inputs: Sequence[np.ndarray], y: np.ndarray, training: bool
) -> np.ndarray:
    (x,), grouped = inputs, _grouped(node, inputs[0])
    mean, variance = (
        np.broadcast_to(each, grouped.shape).reshape(x.shape)
        for each in moments(grouped, _within_groups(grouped))
    )
    terms = float(np.prod(x.shape[1:])) / node.attributes["groups"]
    shifted = mean, variance + node.attributes["epsilon"]
    return own_statistics_rounding(x, y, shifted, terms, parameters)


def _group_norm_differences(a: Node, b: Node, of_a: Shapes, of_b: Shapes) -> list[Difference]:
    differences = []
    if a.attributes["groups"] != b.attributes["groups"]:
        words = [f"{node.attributes['groups']} groups" for node in (a, b)]
        changed = with_those_of(a, b, "groups")
        differences.append(Difference("normalisation-axes", *words, changed=changed))
    return differences + epsilon_differences(a, b) + scale_and_offset_differences(of_a, of_b)


def _group_norm_hypotheses(node: Node, x: np.ndarray, y: np.ndarray) -> list[tuple[str, Node]]:
    """Other epsilons, and other numbers of groups."""
    channels = x.shape[-1]
    groups = [count for count in (32, channels, 16, 8, 4, 2, 1) if channels % count == 0]
    return [
        *(("normalisation-epsilon", with_attributes(node, epsilon=e)) for e in EPSILONS),
        *(("normalisation-axes", with_attributes(node, groups=count)) for count in groups),
    ]


def _usual_group_norm(node: Node, shape: Shape) -> Node:
    """A group normalisation of a vector with one group, as a layer normalisation."""
    if len(shape) > 1 or node.attributes["groups"] > 1:
        return node
    attributes = {"epsilon": node.attributes["epsilon"], "axes": [-1]}
    return replace(node, kind="layer_norm", attributes=attributes)


GROUP_NORM = Kind(
    name="group_norm",
    attributes={
        "epsilon": "float, added to the variance",
        "groups": "int; the channels are divided into so many groups, one after the other, and "
        "each is normalised over its channels and all positions. As many as there are channels: "
        "instance normalisation",
    },
    roles=_SCALE_AND_OFFSET,
    words=lambda node: f"group normalisation in {node.attributes['groups']} groups",
    compute=_group_norm,
    rounding=_group_norm_rounding,
    differences=_group_norm_differences,
    hypotheses=_group_norm_hypotheses,
    usual=_usual_group_norm,
)
"""Normalisation of each example's groups of channels (Wu & He, 2018), instance normalisation among
them (Ulyanov et al., 2016)."""

KINDS = (BATCH_NORM, LAYER_NORM, RMS_NORM, GROUP_NORM)
