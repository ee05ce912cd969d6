"""Replacements in float64 for TensorFlow's operations that lose precision or have no float64.

`LeakyRelu` keeps its slope in float32; the fused batch normalisations and bilinear resizing compute
only in float32.
"""

# TensorFlow has no types of its own.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from diptych.auditing.frameworks.defaults import as_written

Tensor = Any
Node = Any
"""A ``NodeDef``."""
Expansion = Callable[[Node], Callable[..., list[Tensor]]]

EXPANSIONS: dict[str, Expansion] = {}
"""The function of an operation's inputs to all of its outputs, by the operation's name."""


def expands(*names: str) -> Callable[[Expansion], Expansion]:
    """Registers what stands for operations of these names."""

    def register(expansion: Expansion) -> Expansion:
        EXPANSIONS.update(dict.fromkeys(names, expansion))
        return expansion

    return register


@expands("LeakyRelu")
def leaky_relu(node: Node) -> Callable[..., list[Tensor]]:
    slope = as_written(node.attr["alpha"].f)
    return lambda x: [tf.where(x > 0, x, slope * x)]


@expands("LeakyReluGrad")
def leaky_relu_gradient(node: Node) -> Callable[..., list[Tensor]]:
    slope = as_written(node.attr["alpha"].f)
    return lambda gradient, x: [tf.where(x > 0, gradient, slope * gradient)]


@expands("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def batch_norm(node: Node) -> Callable[..., list[Tensor]]:
    epsilon, training = as_written(node.attr["epsilon"].f), node.attr["is_training"].b
    factor = as_written(node.attr["exponential_avg_factor"].f) if training else 1.0
    third = node.op == "FusedBatchNormV3"

    def compute(x: Tensor, scale: Tensor, offset: Tensor, mean: Tensor, variance: Tensor) -> list:
        axes = axes_of(node, x)
        new_mean, new_variance = mean, variance
        if training:
            old_mean, old_variance = mean, variance
            mean = tf.reduce_mean(x, axes)
            variance = tf.reduce_mean(tf.square(x - along(node, x, mean)), axes)
            count = tf.cast(tf.size(x) // tf.size(mean), tf.float64)
            new_mean, new_variance = mean, variance * count / tf.maximum(count - 1, 1)
            if factor != 1:
                new_mean = (1 - factor) * old_mean + factor * new_mean
                new_variance = (1 - factor) * old_variance + factor * new_variance
        deviation = along(node, x, tf.sqrt(variance + epsilon))
        normal = (x - along(node, x, mean)) / deviation
        y = normal * along(node, x, scale) + along(node, x, offset)
        return [y, new_mean, new_variance, mean, variance] + ([tf.zeros(0, tf.float64)] * third)

    return compute


@expands("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")
def batch_norm_gradient(node: Node) -> Callable[..., list[Tensor]]:
    epsilon, training = as_written(node.attr["epsilon"].f), node.attr["is_training"].b

    def compute(
        gradient: Tensor, x: Tensor, scale: Tensor, mean: Tensor, variance: Tensor, *_: Tensor
    ) -> list:
        axes = axes_of(node, x)
        deviation = along(node, x, tf.sqrt(variance + epsilon))
        normal = (x - along(node, x, mean)) / deviation
        to_scale, to_offset = tf.reduce_sum(gradient * normal, axes), tf.reduce_sum(gradient, axes)
        to_x = gradient
        if training:
            count = tf.cast(tf.size(x) // tf.size(mean), tf.float64)
            to_x -= along(node, x, to_offset / count) + normal * along(node, x, to_scale / count)
        to_x = to_x * along(node, x, scale) / deviation
        nothing = tf.zeros(0, tf.float64)
        return [to_x, to_scale, to_offset, nothing, nothing]

    return compute


def interpolation(node: Node, size: Tensor, wanted: Tensor) -> Tensor:
    """The matrix of bilinear resizing along one axis: (wanted, size)."""
    size, wanted = tf.cast(size, tf.float64), tf.cast(wanted, tf.float64)
    at, ratio = tf.range(wanted, dtype=tf.float64), size / wanted
    if node.attr["align_corners"].b:
        ratio = tf.math.divide_no_nan(size - 1, wanted - 1)
    places = at * ratio
    if node.attr["half_pixel_centers"].b:
        places = (at + 0.5) * ratio - 0.5
    below = tf.floor(places)
    columns = tf.range(size, dtype=tf.float64)

    def hits(places: Tensor) -> Tensor:
        inside = tf.clip_by_value(places, 0.0, size - 1)
        return tf.cast(tf.equal(inside[:, None], columns[None]), tf.float64)

    share = (places - below)[:, None]
    return hits(below) * (1 - share) + hits(below + 1) * share


@expands("ResizeBilinear")
def resize(node: Node) -> Callable[..., list[Tensor]]:
    def compute(x: Tensor, size: Tensor) -> list[Tensor]:
        rows = interpolation(node, tf.shape(x)[1], size[0])
        columns = interpolation(node, tf.shape(x)[2], size[1])
        return [tf.einsum("nhjc,ih->nijc", tf.einsum("nhwc,jw->nhjc", x, columns), rows)]

    return compute


@expands("ResizeBilinearGrad")
def resize_gradient(node: Node) -> Callable[..., list[Tensor]]:
    def compute(gradient: Tensor, x: Tensor) -> list[Tensor]:
        rows = interpolation(node, tf.shape(x)[1], tf.shape(gradient)[1])
        columns = interpolation(node, tf.shape(x)[2], tf.shape(gradient)[2])
        return [tf.einsum("nhjc,jw->nhwc", tf.einsum("nijc,ih->nhjc", gradient, rows), columns)]

    return compute


def channels_first(node: Node) -> bool:
    return node.attr["data_format"].s.startswith(b"NC")


def axes_of(node: Node, x: Tensor) -> Tensor:
    """All axes but the channels'."""
    rank = tf.rank(x)
    if channels_first(node):
        return tf.concat([[0], tf.range(2, rank)], 0)
    return tf.range(rank - 1)


def along(node: Node, x: Tensor, values: Tensor) -> Tensor:
    """Values (channels,) in a shape in which they meet x."""
    if channels_first(node):
        ones = tf.ones(tf.rank(x) - 2, tf.int32)
        return tf.reshape(values, tf.concat([[-1], ones], 0))
    return values
