"""Recovery of the formula of a loss from its values for outputs that the audit chooses."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from diptych.auditing import losses
from diptych.auditing.endings import ended
from diptych.auditing.examples import random_targets, takes_own, targets_as
from diptych.auditing.losses import Formula
from diptych.auditing.pair import Pair, Which
from diptych.randomness import generator

SIZES = (6, 4)
"""The batch sizes that distinguish a mean from a sum."""
MOST_CLASSES = 64
"""The number of classes whose weights are searched for."""
DELTAS = (1e-3, 1e2)
"""The range in which the threshold of a robust loss is searched for."""


@dataclass(frozen=True)
class Outputs:
    """Outputs and targets chosen by the audit, for which a side computes its loss."""

    pair: Pair
    which: Which
    like: np.ndarray
    """Targets as the side prepares them: (n,) is not (n, 1)."""

    def of_size(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of the last layer and targets, the same for both sides; (size, …)."""
        first, side = self.pair.sides["a"], self.pair.sides[self.which]
        random = generator(0, "audit/outputs", size)
        shape = self.pair.a.nodes[-1].shape
        z = (2 * random.standard_normal((size, *shape))).astype(np.float32)
        if takes_own(*self.pair.sides.values()):
            targets = self.like[random.integers(len(self.like), size=size)]
        else:
            targets = targets_as(random_targets(first, random, size), side.targets, first)
        if targets.size == size * int(np.prod(self.like.shape[1:])):
            targets = targets.reshape(size, *self.like.shape[1:])
        if self.pair.final[self.which]:
            z = ended(self.pair, self.which, z.astype(np.float64)).astype(np.float32)
        return z, targets

    def of_classes(self, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Outputs for examples of these classes, and their targets."""
        side = self.pair.sides[self.which]
        z, _ = self.of_size(len(classes))
        if side.targets == "one_hot":
            return z, np.eye(z.shape[-1], dtype=np.float32)[classes]
        return z, np.array(classes).reshape(len(classes), *self.like.shape[1:])

    def loss(self, size: int) -> float:
        """The side's loss for them."""
        return self.pair.sides[self.which].loss(*self.of_size(size))


def candidates(targets: str) -> list[Formula]:
    """The possible formulas of a loss with such targets, likelier ones first."""
    if targets in ("classes", "one_hot"):
        kinds = [
            ("cross_entropy", "logits"),
            ("cross_entropy", "probabilities"),
            ("cross_entropy", "clipped"),
            ("cross_entropy", "unnormalised"),
            ("cross_entropy", "log_probabilities"),
            ("cross_entropy", "softmax_twice"),
            ("cross_entropy", "softmax_thrice"),
            ("squared", "logits"),
            ("squared", "probabilities_of_logits"),
            ("binary_cross_entropy", "logits"),
            ("binary_cross_entropy", "probabilities"),
        ]
    elif targets == "binary":
        kinds = [
            ("binary_cross_entropy", "logits"),
            ("binary_cross_entropy", "probabilities"),
            ("binary_cross_entropy", "sigmoid_twice"),
            ("squared", "logits"),
        ]
    else:
        kinds = [(k, "values") for k in ("squared", "absolute", "huber", "log_cosh")]
    reductions = ("mean", "sum", "sum_of_outputs", "half_mean", "broadcast")
    formulas: list[Formula] = [
        {"kind": kind, "takes": takes, "reduction": reduction}
        for (kind, takes), reduction in product(kinds, reductions)
    ]
    return formulas


def recovered(outputs: Outputs, close: float) -> tuple[Formula | None, list[float]]:
    """The first formula that gives the side's values, and the values.

    Args:
        outputs: what the values are for.
        close: how far from its formula a loss may be, relatively.
    """
    side = outputs.pair.sides[outputs.which]
    batches = [outputs.of_size(size) for size in SIZES]
    values = [side.loss(z, targets) for z, targets in batches]
    formulas = candidates(side.targets)
    formula = _fitting(formulas, batches, values, close)
    if formula is None:
        formula = _fitting(_with_numbers(formulas, *batches[0], values[0]), batches, values, close)
    own = takes_own(*outputs.pair.sides.values())
    if formula is None and not own and side.targets in ("classes", "one_hot"):
        formula = _fitting(_with_weights(outputs), batches, values, close)
    return formula, values


def _fitting(
    formulas: list[Formula],
    batches: list[tuple[np.ndarray, np.ndarray]],
    values: list[float],
    close: float,
) -> Formula | None:
    """The first formula that gives all values."""
    for (z, targets), value in zip(batches, values, strict=True):
        near = close * max(1e-3, abs(value))
        expectations = losses.values(formulas, z, targets)
        formulas = [
            formula
            for formula, expected in zip(formulas, expectations, strict=True)
            if expected is not None and abs(expected - value) <= near
        ]
    return dict(formulas[0]) if formulas else None


def _with_numbers(
    formulas: list[Formula], z: np.ndarray, targets: np.ndarray, value: float
) -> list[Formula]:
    """Formulas, with the value of their free number that gives the loss: the share of smoothed
    labels, or the threshold of a robust loss."""
    answers: list[Formula] = []
    for formula in formulas:
        if formula["kind"] == "cross_entropy":  # The loss is a straight line in the share.
            ends = losses.values([formula, formula | {"smoothing": 1.0}], z, targets)
            if None in ends or ends[0] == ends[1]:
                continue
            share = (value - ends[0]) / (ends[1] - ends[0])  # pyright: ignore
            answers.append(formula | {"smoothing": written(share)})
        elif formula["kind"] == "huber":
            answers += [
                formula | {"delta": delta, "smooth": smooth}
                for smooth in (False, True)
                if (delta := _threshold(formula | {"smooth": smooth}, z, targets, value))
            ]
    return answers


def _threshold(formula: Formula, z: np.ndarray, targets: np.ndarray, value: float) -> float | None:
    """The threshold for which a robust loss has this value; None if there is none."""

    def away(exponent: float) -> float:
        [loss] = losses.values([formula | {"delta": 10**exponent}], z, targets)
        return np.nan if loss is None else loss - value

    low, high = np.log10(DELTAS)
    if not away(low) * away(high) < 0:
        return None
    from scipy.optimize import brentq  # Its import takes longer than most audits need it.

    return written(10 ** float(brentq(away, low, high, xtol=1e-12)))  # pyright: ignore


def written(value: float) -> float:
    """The number as it was probably written, if it is near one with three digits."""
    rounded = float(f"{value:.3g}")
    return rounded if abs(rounded - value) <= 1e-4 * abs(value) else float(value)


def _with_weights(outputs: Outputs) -> list[Formula]:
    """Cross-entropies with a weight for each class, which are measured: each class in a batch of
    its own, then beside the first class."""
    side = outputs.pair.sides[outputs.which]
    *axes, count = outputs.pair.a.nodes[-1].shape
    if axes or count > MOST_CLASSES:
        return []
    base: Formula = {"kind": "cross_entropy", "takes": "logits", "reduction": "mean"}
    answers: list[Formula] = []
    for takes in ("logits", "probabilities", "clipped", "log_probabilities"):
        formula: dict[str, Any] = base | {"takes": takes}
        alone, beside = [], []
        for number in range(count):
            z, targets = outputs.of_classes([number, number])
            [plain] = losses.values([formula], z, targets)
            alone.append(side.loss(z, targets) / plain if plain else np.nan)
            z, targets = outputs.of_classes([number, 0])
            pair = [losses.values([formula], z[i : i + 1], targets[i : i + 1])[0] for i in (0, 1)]
            if None in pair:
                return answers
            loss = side.loss(z, targets)  # (w * pair[0] + w_0 * pair[1]) / (w + w_0)
            beside.append((loss - pair[1]) / (pair[0] - loss) if number else 1.0)  # pyright: ignore
        if np.allclose(alone, 1, 1e-4):
            weights = [written(weight) for weight in beside]
            answers.append(formula | {"weights": weights, "reduction": "weighted_mean"})
        elif np.all(np.isfinite(alone)):
            answers.append(formula | {"weights": [written(weight) for weight in alone]})
    return answers
