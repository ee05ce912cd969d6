"""Recurrent layers with two trained biases on one side and one on the other.

PyTorch's LSTM and simple RNN add two biases. Both get the gradient that one bias would get, so
their sum changes twice as much in each step, with any optimiser.
"""

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.match import Match
from diptych.auditing.naming.paths import Difference
from diptych.auditing.pair import SIDES, Pair

KINDS = ("lstm", "gru", "simple_rnn")
NEAR = 1e-3
"""The allowed difference of the ratio of two steps from 2."""
EFFECT = (
    "its learning rate is in effect twice as large; freeze one of the two "
    "(requires_grad_(False)), or halve the learning rate of both"
)


def explain(pair: Pair, differences: list[Difference], report: Reporter) -> list[Difference]:
    """Reports such layers.

    Args:
        pair: both sides.
        differences: where the optimisers' paths come apart.
        report: takes the findings.

    Returns:
        The differences that these do not explain.
    """
    rest = list(differences)
    for match in pair.matches:
        names = _biases(match)
        own = [d for d in differences if d.name in names and d.regime.has_gradients]
        factors = [_factor(difference) for difference in own]
        if not factors or None in factors or len(set(factors)) > 1:
            continue
        words = ["one bias", "two biases, both trained: their sum changes twice as much per step"]
        a, b = words if factors[0] == 2 else words[::-1]
        report("learning-rate", at=match, a=a, b=b, effect=EFFECT)
        rest = [difference for difference in rest if difference.name not in names]
    return rest


def _biases(match: Match) -> set[str]:
    """A's names of a recurrent layer's biases."""
    if match.a is None or match.b is None or match.a.kind not in KINDS:
        return set()
    return {name for role, name in match.a.parameters.items() if role.endswith("bias")}


def _factor(difference: Difference) -> int | None:
    """2 if all of B's steps are twice A's, -2 if A's are twice B's, else None."""
    a, b = (
        np.diff(difference.paths[which][difference.name].astype(np.float64), axis=0)
        for which in SIDES
    )
    there = np.abs(a) > 1e-6 * np.abs(a).max(initial=1e-300)
    if not np.any(there):
        return None
    ratio = b[there] / a[there]
    for factor, wanted in ((2, 2.0), (-2, 0.5)):
        if np.all(np.abs(np.quantile(ratio, (0.05, 0.95)) / wanted - 1) < NEAR):
            return factor
    return None
