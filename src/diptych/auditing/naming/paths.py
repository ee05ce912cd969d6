"""Naming of differences between optimisers that show only for some gradients, or only at some
steps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diptych.auditing.findings import Reporter, place
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes.steps import Regime

EARLY = 10
"""The number of steps within which a difference is one of the optimiser and not of a schedule."""
CONSTANT = 1e-4
"""The relative difference of ratios of steps that counts as none."""


@dataclass
class Difference:
    """The first difference of two optimisers' paths."""

    regime: Regime
    step: int
    """Counted from 1."""
    name: str
    """The parameter, by A's name."""
    paths: dict[Which, Arrays]
    """The watched numbers of both sides by A's names, (steps + 1, watched)."""
    number: int
    """The watched number that differs first."""

    def steps(self, which: Which) -> np.ndarray:
        """The change of the value in each step of a side."""
        return np.diff(self.paths[which][self.name][:, self.number].astype(np.float64))


Said = tuple[str, ...]
"""A cause, and the value on each side."""


def explain(pair: Pair, differences: list[Difference], report: Reporter) -> None:
    """Reports the differences, by the first name that fits."""
    names: tuple[Callable[[list[Difference]], Said | None], ...] = (
        *(_accumulation, _decay, _constraint, _clipping, _rate, _stopping, _late),
    )
    frozen = {
        name
        for match in pair.matches
        if match.a and report.has_at(match, "frozen-parameter")
        for name in match.a.parameters.values()
    }
    differences = [difference for difference in differences if difference.name not in frozen]
    if not differences:
        return  # What was found already explains them.
    first = min(differences, key=lambda difference: difference.step)
    parameters = {difference.name for difference in differences}
    matches = [m for m in pair.matches if m.a and parameters & set(m.a.parameters.values())]
    trained = [m for m in pair.matches if m.a and m.b and m.a.parameters]
    at = place(matches[0]) if len(matches) < len(trained) else None
    effect = (
        f"the first difference is in step {first.step} with gradients {first.regime.name}, "
        f"in {first.name}"
    )
    for name in names:
        said = name(differences)
        if said:
            code, a, b = said
            report(code, at=at, a=a, b=b, effect=effect)
            return
    steps = [float(first.steps(which)[first.step - 1]) for which in SIDES]
    words = [f"step {first.step} moves a weight by {step:.6g}" for step in steps]
    report("optimiser", at=at, a=words[0], b=words[1], effect=effect)


def _accumulation(differences: list[Difference]) -> Said | None:
    """Recognises that the two sides update in different steps."""
    for difference in differences:
        moves = [np.flatnonzero(difference.steps(which)) + 1 for which in SIDES]
        if any(not len(each) for each in moves) or not difference.regime.has_gradients:
            continue
        if max(each[0] for each in moves) > 2:  # Its first gradient may be zero.
            first = [int(each[0]) for each in moves]
            words = [
                f"weights first change in step {n}" if n > 2 else "in every step" for n in first
            ]
            if first[0] != first[1]:
                return "gradient-accumulation", *words
            return "optimiser", *(_described(difference, w, first[0]) for w in SIDES)
    return None


def _described(difference: Difference, which: Which, step: int) -> str:
    return f"step {step} moves a weight by {difference.steps(which)[step - 1]:.6g}"


def _decay(differences: list[Difference]) -> Said | None:
    """Recognises weights that decay by a share of their value with zero gradients."""
    for difference in differences:
        if difference.regime.has_gradients or difference.regime.large:
            continue
        shares = []
        for which in SIDES:
            weights = difference.paths[which][difference.name][0]
            moved = np.diff(difference.paths[which][difference.name], axis=0)[0]
            there = weights != 0
            ratio = moved[there] / weights[there]
            if not len(ratio) or np.ptp(ratio) > CONSTANT * np.abs(ratio).max(initial=1e-300):
                return None
            shares.append(-float(ratio.mean()))
        words = [
            f"each weight decays by {s:.3g} of its value per step" if s else "none" for s in shares
        ]
        return "weight-decay", *words
    return None


def _constraint(differences: list[Difference]) -> Said | None:
    """Recognises that only large weights change with zero gradients."""
    large = [d for d in differences if d.regime.large]
    if not large or any(d.regime.has_gradients for d in differences):
        return None
    words = [f"large weights change by up to {np.abs(large[0].steps(w)).max():.3g}" for w in SIDES]
    return "weight-constraint", *words


def _clipping(differences: list[Difference]) -> Said | None:
    """Recognises that only steps with large gradients differ."""
    if any(
        difference.regime.sizes[1] < 0 or not difference.regime.has_gradients
        for difference in differences
    ):
        return None
    first = min(differences, key=lambda difference: difference.step)
    words = []
    for which in SIDES:
        step = float(first.steps(which)[first.step - 1])
        words.append(
            f"step {first.step} moves a weight by {step:.6g}" if step else "skips the step"
        )
    return "gradient-clipping", *words


def _rate(differences: list[Difference]) -> Said | None:
    """Recognises that all steps of some parameters differ by the same factor."""
    ratios = []
    for difference in differences:
        if not difference.regime.has_gradients:
            continue
        a, b = (
            np.diff(difference.paths[w][difference.name].astype(np.float64), axis=0) for w in SIDES
        )
        there = np.abs(a) > 1e-9 * np.abs(a).max(initial=1e-300)
        if np.any(there):
            ratio = b[there] / a[there]
            ratios += [float(np.quantile(ratio, q)) for q in (0.05, 0.95)]
    if not ratios or np.ptp(ratios) > 1e-3 * np.abs(ratios).max():
        return None
    if abs(np.mean(ratios) - 1) < 1e-3:  # Nearly all steps are the same; a few are others.
        return None
    return "learning-rate", "its steps", f"steps {np.mean(ratios):.6g} times as large"


def _stopping(differences: list[Difference]) -> Said | None:
    """Recognises a parameter that no longer changes on one side from some step on."""
    for difference in differences:
        before = difference.step - 1
        if not difference.regime.has_gradients or before < 1:
            continue
        moves = [
            np.any(np.diff(difference.paths[which][difference.name], axis=0) != 0, axis=1)
            for which in SIDES
        ]
        later = [bool(each[before:].any()) for each in moves]
        if all(each[:before].any() for each in moves) and later[0] != later[1]:
            words = [
                "is trained" if each else f"does not change from step {before + 1} on"
                for each in later
            ]
            return "frozen-parameter", *words
    return None


def _late(differences: list[Difference]) -> Said | None:
    """Recognises a first difference at a late step."""
    first = min(differences, key=lambda difference: difference.step)
    if first.step <= EARLY:
        return None
    words = [_described(first, which, first.step) for which in SIDES]
    return "schedule", *words
