"""Loss formulas: what a side's loss may be, so that behaviour says which of them it is.

A formula is plain data: ``kind``, ``takes`` (``logits`` or ``probabilities``, as far as the kind
knows the difference), ``reduction``, ``final`` (an activation before it) and ``penalties`` on
parameters; some have ``smoothing``, ``weights`` of the classes, or a ``delta``. Values are float64,
written with `autograd.numpy` so that they have gradients.
"""

# pyright: reportAttributeAccessIssue=false
# autograd.numpy makes its names when it is imported.

from collections.abc import Mapping, Sequence
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.tracer import getval

from diptych.auditing.kinds.curves import activate, log_softmax, softmax, softplus
from diptych.auditing.kinds.kind import Array
from diptych.auditing.special import expit

Formula = dict[str, Any]

KERAS_EPSILON = 1e-7
"""The limit to which Keras clips probabilities before it takes their logarithm."""


def clipped(x: Array, low: float, high: float) -> Array:
    """The values clipped to limits. As in the frameworks, values at a limit have a gradient."""
    within = (x >= low) & (x <= high)
    return anp.where(within, x, np.clip(getval(x), low, high))


def one_hot(targets: np.ndarray, outputs: tuple[int, ...]) -> np.ndarray:
    """Targets as a row of zeros and a one for each example, pixel or token.

    A class that there is not gets a row of zeros.

    Args:
        targets: classes, with or without a last axis of one, or such rows already.
        outputs: the shape of what they are for, (n, …, classes).
    """
    if targets.shape == outputs and outputs[-1] > 1:
        return targets.astype(np.float64)
    classes = targets.reshape(*outputs[:-1], 1).astype(np.int64)
    return (classes == np.arange(outputs[-1])).astype(np.float64)


def log_probabilities(takes: str, outputs: Array) -> Array:
    """The logarithms of the probabilities that a cross-entropy computes from the outputs."""
    match takes:
        case "logits":
            return log_softmax(outputs)
        case "probabilities":  # Keras makes them add up to 1, then clips.
            shares = outputs / anp.sum(outputs, axis=-1, keepdims=True)
            return anp.log(clipped(shares, KERAS_EPSILON, 1 - KERAS_EPSILON))
        case "clipped":  # Keras on TensorFlow: clipped, and the logarithms taken for logits.
            return log_softmax(anp.log(clipped(outputs, KERAS_EPSILON, 1 - KERAS_EPSILON)))
        case "unnormalised":  # Written by hand, and not made to add up to 1.
            return anp.log(clipped(outputs, KERAS_EPSILON, 1.0))
        case "softmax_twice":
            return log_softmax(softmax(outputs))
        case "softmax_thrice":
            return log_softmax(softmax(softmax(outputs)))
    return outputs


def by_example(formula: Formula, outputs: Array, targets: np.ndarray) -> Array:
    """The loss of each example, or of each output if there are several: (n,) or (n, outputs).

    Raises:
        ValueError: the outputs or the targets are none that such a loss takes.
    """
    kind, takes = formula["kind"], formula["takes"]
    if kind == "cross_entropy":
        wanted = one_hot(targets, outputs.shape)
        smoothing = formula.get("smoothing", 0.0)
        wanted = wanted * (1 - smoothing) + smoothing / outputs.shape[-1]
        _check_same(wanted.shape, outputs.shape)
        if formula.get("weights"):
            wanted = wanted * np.asarray(formula["weights"])
        return -anp.sum(wanted * log_probabilities(takes, outputs), axis=-1)
    if takes == "values" or kind == "squared":
        return _distances(formula, outputs, targets)
    wanted = _targets_like(outputs, targets)
    if takes == "probabilities":
        shares = clipped(outputs, KERAS_EPSILON, 1 - KERAS_EPSILON)
        return -wanted * anp.log(shares) - (1 - wanted) * anp.log(1 - shares)
    if takes == "sigmoid_twice":
        outputs = expit(outputs)
    return softplus(outputs) - outputs * wanted


def _distances(formula: Formula, outputs: Array, targets: np.ndarray) -> Array:
    kind, takes = formula["kind"], formula["takes"]
    wanted = targets.astype(np.float64) if takes == "values" else _targets_like(outputs, targets)
    if takes == "probabilities_of_logits":
        outputs = softmax(outputs)
    if formula["reduction"] == "broadcast":
        wanted = wanted.reshape(-1)  # (n, 1) - (n,) is (n, n).
        if outputs.shape[-1] != 1:
            raise ValueError("only one output per example broadcasts like this")
    else:
        wanted = wanted.reshape(outputs.shape)
    away = outputs - wanted
    match kind:
        case "squared":
            return away**2
        case "absolute":
            return anp.abs(away)
        case "huber":
            size, delta = anp.abs(away), formula.get("delta", 1.0)
            loss = anp.where(size < delta, away**2 / 2, delta * (size - delta / 2))
            return loss / delta if formula.get("smooth") else loss
    return away + softplus(-2 * away) - np.log(2.0)


def _targets_like(outputs: Array, targets: np.ndarray) -> np.ndarray:
    if outputs.shape[-1] == 1:
        return targets.astype(np.float64).reshape(outputs.shape)
    wanted = one_hot(targets, outputs.shape)
    _check_same(wanted.shape, outputs.shape)
    return wanted


def _check_same(wanted: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    if wanted != outputs:
        raise ValueError(f"targets {wanted} for outputs {outputs}")


def value(
    formula: Formula, outputs: Array, targets: np.ndarray, parameters: Mapping[str, Array]
) -> Array:
    """The loss of a batch, a scalar, with penalties.

    Args:
        formula: the formula; ``final`` names an activation that comes before it, if any.
        outputs: (n, …), float64.
        targets: as the side's loss takes them.
        parameters: by name, for the penalties: ``{"squares": {name: factor}, "absolutes": …}``.

    Raises:
        ValueError: the outputs or the targets are none that such a loss takes.
    """
    if formula.get("final"):
        outputs = activate(formula["final"], None, outputs)
    losses = by_example(formula, outputs, targets)
    match formula["reduction"]:
        case "sum":
            total = anp.sum(losses)
        case "sum_of_outputs":
            if losses.ndim == 1:
                raise ValueError("the loss is one value per example")
            total = anp.sum(losses) / losses.shape[0]
        case "half_mean":
            total = anp.mean(losses) / 2
        case "weighted_mean":
            shares = one_hot(targets, outputs.shape) * np.asarray(formula["weights"])
            total = anp.sum(losses) / np.sum(shares)
        case _:
            total = anp.mean(losses)
    penalties = formula.get("penalties", {})
    for name, factor in penalties.get("squares", {}).items():
        total = total + factor * anp.sum(parameters[name] ** 2)
    for name, factor in penalties.get("absolutes", {}).items():
        total = total + factor * anp.sum(anp.abs(parameters[name]))
    return total


def values(
    formulas: Sequence[Formula], outputs: np.ndarray, targets: np.ndarray
) -> list[float | None]:
    """The value of each formula without penalties; None if it does not take such outputs or
    targets, or is no number for them."""
    answers: list[float | None] = []
    outputs = outputs.astype(np.float64)
    for formula in formulas:
        try:
            with np.errstate(all="ignore"):
                loss = float(getval(value(formula, outputs, targets, {})))
        except (ValueError, TypeError, IndexError):
            answers.append(None)
        else:
            answers.append(loss if np.isfinite(loss) else None)
    return answers
