"""Loss formulas: what a side's loss may be, so that behaviour says which of them it is.

A formula is plain data: ``kind``, ``takes`` (``logits`` or ``probabilities``, as far as the kind
knows the difference), ``reduction`` and ``penalties`` on parameters.
"""

# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportOperatorIssue=false, reportIndexIssue=false, reportCallIssue=false

from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any
Formula = dict[str, Any]

KERAS_EPSILON = 1e-7
"""Where Keras clips probabilities before it takes their logarithm."""


def one_hot(targets: np.ndarray, classes: int) -> Tensor:
    if targets.ndim == 2 and targets.shape[1] == classes and classes > 1:
        return tf.constant(targets.astype(np.float64))
    return tf.one_hot(targets.reshape(-1).astype(np.int64), classes, dtype=tf.float64)


def log_probabilities(takes: str, outputs: Tensor) -> Tensor:
    match takes:
        case "logits":
            return tf.nn.log_softmax(outputs)
        case "probabilities":  # Keras makes them add up to 1, then clips.
            shares = outputs / tf.reduce_sum(outputs, -1, keepdims=True)
            return tf.math.log(tf.clip_by_value(shares, KERAS_EPSILON, 1 - KERAS_EPSILON))
        case "clipped":  # Keras on TensorFlow: clipped, and the logarithms taken for logits.
            clipped = tf.clip_by_value(outputs, KERAS_EPSILON, 1 - KERAS_EPSILON)
            return tf.nn.log_softmax(tf.math.log(clipped))
        case "unnormalised":  # Written by hand, and not made to add up to 1.
            return tf.math.log(tf.clip_by_value(outputs, KERAS_EPSILON, 1.0))
        case "softmax_twice":
            return tf.nn.log_softmax(tf.nn.softmax(outputs))
        case "softmax_thrice":
            return tf.nn.log_softmax(tf.nn.softmax(tf.nn.softmax(outputs)))
    return outputs


def each(loss: Formula, outputs: Tensor, targets: np.ndarray) -> Tensor:
    """The loss of each example, or of each output where there are several: (n,) or (n, outputs)."""
    kind, takes = loss["kind"], loss["takes"]
    if kind == "cross_entropy":
        wanted = one_hot(targets, outputs.shape[-1])
        smoothing = loss.get("smoothing", 0.0)
        wanted = wanted * (1 - smoothing) + smoothing / outputs.shape[-1]
        return -tf.reduce_sum(wanted * log_probabilities(takes, outputs), axis=-1)
    if takes == "values" or kind == "squared":
        if takes == "values" or outputs.shape[-1] == 1:
            wanted = tf.constant(targets.astype(np.float64))
        else:
            wanted = one_hot(targets, outputs.shape[-1])
        if takes == "probabilities_of_logits":
            outputs = tf.nn.softmax(outputs)
        if loss["reduction"] == "broadcast":
            wanted = tf.reshape(wanted, [-1])  # (n, 1) - (n,) is (n, n).
            if outputs.shape[-1] != 1:
                raise ValueError("only a single output broadcasts like this")
        else:
            wanted = tf.reshape(wanted, outputs.shape)
        away = outputs - wanted
        match kind:
            case "squared":
                return tf.square(away)
            case "absolute":
                return tf.abs(away)
            case "huber":
                size = tf.abs(away)
                return tf.where(size < 1, tf.square(away) / 2, size - 0.5)
        return away + tf.nn.softplus(-2 * away) - np.log(2.0)
    if outputs.shape[-1] == 1:
        wanted = tf.reshape(tf.constant(targets.astype(np.float64)), outputs.shape)
    else:
        wanted = one_hot(targets, outputs.shape[-1])
    if takes == "probabilities":
        shares = tf.clip_by_value(outputs, KERAS_EPSILON, 1 - KERAS_EPSILON)
        return -wanted * tf.math.log(shares) - (1 - wanted) * tf.math.log(1 - shares)
    if takes == "sigmoid_twice":
        outputs = tf.sigmoid(outputs)
    return tf.nn.sigmoid_cross_entropy_with_logits(wanted, outputs)


def value(
    loss: Formula, outputs: Tensor, targets: np.ndarray, parameters: dict[str, Tensor]
) -> Tensor:
    """The loss of a batch, a scalar, penalties included.

    Args:
        loss: the formula; ``final`` names an activation that comes before it, if any.
        outputs: (n, …), float64.
        targets: as the side's loss takes them.
        parameters: by name, for the penalties: ``{"squares": {name: factor}, "absolutes": …}``.
    """
    match loss.get("final"):
        case "softmax":
            outputs = tf.nn.softmax(outputs)
        case "log_softmax":
            outputs = tf.nn.log_softmax(outputs)
        case "sigmoid":
            outputs = tf.sigmoid(outputs)
    losses = each(loss, outputs, targets)
    match loss["reduction"]:
        case "sum":
            total = tf.reduce_sum(losses)
        case "sum_of_outputs":
            if losses.shape.rank == 1:
                raise ValueError("there is one loss an example")
            total = tf.reduce_sum(losses) / losses.shape[0]
        case "half_mean":
            total = tf.reduce_mean(losses) / 2
        case _:
            total = tf.reduce_mean(losses)
    penalties = loss.get("penalties", {})
    for name, factor in penalties.get("squares", {}).items():
        total += factor * tf.reduce_sum(tf.square(parameters[name]))
    for name, factor in penalties.get("absolutes", {}).items():
        total += factor * tf.reduce_sum(tf.abs(parameters[name]))
    return total
