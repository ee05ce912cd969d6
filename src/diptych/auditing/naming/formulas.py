"""Two formulas of losses: their differences by name, and each in words."""

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.losses import Formula

TAKES: dict[tuple[str | None, str], str] = {
    (None, "logits"): "logits",
    ("log_softmax", "logits"): "logits",
    ("softmax", "probabilities"): "logits",
    ("softmax", "clipped"): "logits",
    ("softmax", "unnormalised"): "logits",
    ("log_softmax", "log_probabilities"): "logits",
    ("sigmoid", "probabilities"): "logits",
    ("softmax", "logits"): "softmax_twice",
    ("sigmoid", "logits"): "sigmoid_twice",
    ("softmax", "softmax_twice"): "softmax_thrice",
}
"""The meaning of the last layer's values to the loss, by the final activation and the input that
the loss takes."""
WORDS = {
    "logits": "takes the last layer's numbers as logits",
    "probabilities": "takes the last layer's numbers as probabilities, which they are not",
    "clipped": "takes the last layer's numbers as probabilities, which they are not",
    "unnormalised": "takes the last layer's numbers as probabilities, which they are not",
    "log_probabilities": "takes the last layer's numbers as logarithms of probabilities",
    "softmax_twice": "applies softmax twice",
    "softmax_thrice": "applies softmax three times",
    "sigmoid_twice": "applies the sigmoid twice",
}
REDUCTIONS = {
    "mean": "mean over the batch",
    "sum": "sum over the batch",
    "sum_of_outputs": "sum over the outputs, mean over the batch",
    "half_mean": "half the mean over the batch",
    "weighted_mean": "sum over the batch, divided by the sum of its examples' weights",
}


DISTANCES = ("squared", "absolute", "huber", "log_cosh")
"""Losses that take any numbers, so that an activation before them is no mistake."""


def compare(a: Formula, b: Formula, effect: str, alike: bool, report: Reporter) -> None:
    """Compares both formulas.

    Args:
        a: A's formula.
        b: B's formula.
        effect: both losses on the same outputs, in words.
        alike: whether all losses agree on twins; then numbers in the formulas, which were told from
            float32 values, are the same but for rounding.
        report: takes the findings.
    """
    takes = [taken(formula) for formula in (a, b)]
    if a["kind"] != b["kind"]:
        kinds = [formula["kind"].replace("_", " ") for formula in (a, b)]
        report("loss", a=kinds[0], b=kinds[1], effect=effect)
    elif a["kind"] in DISTANCES:
        ends = [_end(formula) for formula in (a, b)]
        if ends[0] != ends[1]:
            words = [f"{end} at the end" if end else "none (linear) at the end" for end in ends]
            report("activation", a=words[0], b=words[1], effect=effect)
    elif takes[0] != takes[1]:
        words = [WORDS.get(taken) or taken for taken in takes]
        report("logits-or-probabilities", a=words[0], b=words[1], effect=effect)
    broadcast = [formula["reduction"] == "broadcast" for formula in (a, b)]
    if broadcast[0] != broadcast[1]:
        words = [
            "each output against every target" if wrong else "each output against its own target"
            for wrong in broadcast
        ]
        report("loss-broadcast", a=words[0], b=words[1], effect=effect)
    elif a["reduction"] != b["reduction"]:
        words = [REDUCTIONS.get(f["reduction"], str(f["reduction"])) for f in (a, b)]
        report("loss-reduction", a=words[0], b=words[1], effect=effect)
    if alike:
        return
    smoothing = [formula.get("smoothing", 0.0) for formula in (a, b)]
    if not np.isclose(*smoothing, rtol=1e-3, atol=1e-9):
        report("label-smoothing", a=f"smoothing {smoothing[0]:g}", b=f"smoothing {smoothing[1]:g}")
    _compare_numbers(a, b, effect, report)


def _compare_numbers(a: Formula, b: Formula, effect: str, report: Reporter) -> None:
    """Compares the weights of the classes and the thresholds of robust losses."""
    weights = [np.asarray(formula.get("weights", [1.0])) for formula in (a, b)]
    if a["reduction"] != b["reduction"]:  # Divided by their sum, weights have no scale.
        weights = [weight / weight[0] for weight in weights]
    if not np.allclose(*np.broadcast_arrays(*weights), rtol=1e-3):
        words = [
            f"class weights {_listed(weight)}" if "weights" in formula else "no class weights"
            for weight, formula in zip(weights, (a, b), strict=True)
        ]
        report("loss", a=words[0], b=words[1], effect=effect)
    deltas = [(formula.get("delta", 1.0), formula.get("smooth", False)) for formula in (a, b)]
    if a["kind"] == b["kind"] == "huber" and deltas[0] != deltas[1]:
        words = [
            f"Huber loss with a threshold of {delta:g}" + (", divided by it" if smooth else "")
            for delta, smooth in deltas
        ]
        report("loss", a=words[0], b=words[1], effect=effect)


def _listed(weights: np.ndarray) -> str:
    text = ", ".join(f"{weight:.4g}" for weight in weights[:6])
    return f"{text}, …" if len(weights) > 6 else text


def _end(formula: Formula) -> str | None:
    """The activation before a distance, in the network or in the loss."""
    inside = formula["takes"] == "probabilities_of_logits"
    return "softmax" if inside and formula["final"] is None else formula["final"]


def taken(formula: Formula) -> str:
    """The meaning of the last layer's numbers to a loss."""
    takes: str = formula["takes"]
    return TAKES.get((formula["final"], takes), takes)


def described(formula: Formula | None, words: str) -> str:
    """A loss in words: its formula, and the description by its side."""
    if formula is None:
        return words or "a custom loss"
    takes = taken(formula)
    told = WORDS.get(takes, takes)
    text = formula["kind"].replace("_", " ") + ("" if takes == "values" else f" that {told}")
    return f"{text} ({words})" if words else text
