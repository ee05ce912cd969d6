"""Numerics: whether each side computes what its code means.

A side is held against its own float64 twin, on the same weights and inputs. Rounding in float32
explains so much; a wrong kernel, a compiler's fault, or arithmetic with fewer digits does not stay
below it. A difference counts only where it is there at several weights: at some of them a rectifier
may turn the other way by rounding alone. Other weights are tried only where the first ones show a
difference.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from diptych.auditing.certificate import FLOAT32
from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Unable, at_once
from diptych.auditing.twins import FLOOR, REACH, Twins, distance, explained, moved

NAME = "numerics"
PLACES = 3
"""Weights at which a difference must be there."""
ERROR = 16.0
"""The rounding error of a layer's output, in units of a weight's: a sum's grows with its terms. The
twin is moved by so much at once, and not by a sixteenth of it: a rectifier that rounding turns does
not turn a little for a little."""
NEAR = 3
"""Ways in which the twin is moved at most, of which the largest effect counts."""
EFFECT = 2 * REACH[FLOAT32] / ERROR
"""The allowed difference, as a multiple of the effect of moving the twin so."""
COARSE = 0.03
"""The relative error that arithmetic with few digits may have; a wrong kernel's is larger or is in
one place only."""
CANCELLED = 1e-6
"""A gradient so much smaller than the largest is zero in truth, such as that of a bias before batch
normalisation. Its float32 value is what rounding leaves of a sum of large numbers."""
SUMMED = 20.0
"""How much larger that rounding may be, as a share of the largest gradient."""
Answer = dict[str, np.ndarray]
"""The outputs, the loss, and each gradient, by name."""


@dataclass
class Off:
    """The difference of a side from its own twin, in units of the bound of rounding."""

    ratio: float
    error: float
    """Relative to the largest number of the same array."""


@dataclass
class Seen:
    """A side and its twin at one or more weights."""

    off: dict[str, Off] = field(default_factory=dict)
    """For each answer, by name, its smallest distance from the twin's."""
    answers: list[Answer] = field(default_factory=list)
    """The side's own, at each weights."""
    explained: list[tuple[float, float]] = field(default_factory=list)
    """Differences that rounding explains, with their bounds."""
    compared: int = 0


def check(twins: Twins, report: Reporter) -> Stage:
    """Compares both sides with their twins."""
    stage, pair = Stage(NAME), twins.pair
    off: dict[Which, dict[str, Off]] = {}
    answers: dict[Which, list[Answer]] = {}
    seen = at_once(pair.sides, lambda which: _seen(twins, which))
    for which in SIDES:
        side, outcome = pair.sides[which], seen[which]
        if isinstance(outcome, str):
            stage.coverage.leave_out(side.label, outcome)
            continue
        off[which], answers[which] = outcome.off, outcome.answers
        count = len(outcome.answers)
        weights = "moved once" if count == 1 else f"moved {count} times"
        stage.coverage.compared(outcome.compared, weights=weights)
        for difference, bound in outcome.explained:
            stage.saw(difference, bound)
    if not off:
        stage.ok, stage.note = None, "; ".join(stage.coverage.left_out)
        stage.coverage.left_out.clear()
        return stage
    stage.coverage.precision = "float32 against float64"
    faults = {which: _worst(found) for which, found in off.items()}
    wrong = {which: fault for which, fault in faults.items() if fault}
    if wrong and any(twins.draws[which] for which in off):
        for which in [which for which in off if twins.draws[which]]:
            off[which] = {name: o for name, o in off[which].items() if name == "the outputs"}
            reason = "its code draws random numbers, and its twin different ones"
            stage.coverage.leave_out(f"loss and gradients of {pair.sides[which].label}", reason)
        faults = {which: _worst(found) for which, found in off.items()}
        wrong = {which: fault for which, fault in faults.items() if fault}
    if wrong and not _alike(answers):
        stage.ok = False
        _report(off, wrong, report)
    elif wrong:
        report.note("both sides compute less precisely than float32, in the same way; see numerics")
        stage.note = "both differ from their twins, in the same way"
    return stage


def _seen(twins: Twins, which: Which) -> Seen | str:
    """Compares a side with its twin; otherwise returns the reason."""
    side, seen = twins.pair.sides[which], Seen()
    if side.twin is None:
        return f"it has no float64 twin: {side.no_twin}"
    try:
        for number in range(PLACES):
            _at(twins, which, number, seen)
            if not _worst(seen.off):
                break
    except (Failed, Unable) as reason:
        return str(reason)
    finally:
        side.load(twins.weights[which])
    return seen


def _at(twins: Twins, which: Which, number: int, seen: Seen) -> None:
    """Compares a side with its twin at the weights of a number."""
    side = twins.pair.sides[which]
    twin = side.twin
    assert twin
    chance = np.random.default_rng(20 + number)
    weights = {
        name: (value * (1 + 0.1 * chance.standard_normal(value.shape))).astype(value.dtype)
        for name, value in twins.weights[which].items()
        if value.dtype.kind == "f"
    }
    exact = {n: v.astype(np.float64) for n, v in weights.items()}
    side.load(weights)
    twin.load(exact)
    answer = _answer(side, twins, which, np.float32)
    truth = _answer(twin, twins, which, np.float64)

    @cache
    def near(way: int) -> Answer:
        twin.load(moved(exact, way, ERROR))
        return _answer(twin, twins, which, np.float64)

    seen.answers.append(answer)
    largest = max((_size(v) for n, v in truth.items() if n.startswith("gradient")), default=0.0)
    for name, value in truth.items():
        if name not in answer:
            continue
        floor = largest if name.startswith("gradient") else 0.0
        if _size(value) < CANCELLED * floor:
            floor *= SUMMED
        difference = distance(answer[name], value)
        bound = explained(
            difference,
            FLOOR[FLOAT32] * max(_size(value), floor) + 1e-300,
            lambda way, name=name, value=value: EFFECT * distance(near(way)[name], value),
            NEAR,
        )
        seen.compared += 1
        here = Off(difference / bound, difference / max(_size(value), 1e-300))
        if name not in seen.off or here.ratio < seen.off[name].ratio:
            seen.off[name] = here
        if here.ratio <= 1:
            seen.explained.append((difference, bound))


def _answer(side: Answers, twins: Twins, which: Which, dtype: type) -> Answer:
    x, y = twins.examples.x[which], twins.examples.y[which]
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    found: Answer = {"the outputs": side.outputs(x, training=False)[0].astype(np.float64)}
    if twins.pair.sides[which].trains:
        loss, gradients = side.loss_and_gradients(x, y)
        found["the loss"] = np.array(loss)
        found |= {f"gradient of {n}": g.astype(np.float64) for n, g in gradients.items()}
    return found


def _size(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _worst(off: dict[str, Off]) -> str | None:
    """The answer that rounding explains least; None if it explains all."""
    name = max(off, key=lambda key: off[key].ratio, default=None)
    return name if name and off[name].ratio > 1 else None


def _alike(answers: dict[Which, list[Answer]]) -> bool:
    """True if both sides give the same wrong answers, for those with the same names."""
    if len(answers) < 2:
        return False
    for a, b in zip(answers["a"], answers["b"], strict=False):  # One may have had more weights.
        for name in ("the outputs", "the loss"):
            if name in a and name in b and a[name].size == b[name].size:
                size = _size(a[name])
                if distance(a[name].ravel(), b[name].ravel()) > FLOOR[FLOAT32] * size:
                    return False
        norms = [
            sorted(float(np.linalg.norm(v)) for n, v in each.items() if n.startswith("gradient"))
            for each in (a, b)
        ]
        if len(norms[0]) != len(norms[1]) or not np.allclose(*norms, rtol=1e-4, atol=1e-7):
            return False
    return True


def _report(off: dict[Which, dict[str, Off]], wrong: dict[Which, str], report: Reporter) -> None:
    if any(finding.code == "precision" for finding in report.audit.findings):
        return
    words = []
    for which in SIDES:
        if which in wrong:
            name = wrong[which]
            error = off[which][name].error
            words.append(f"{name} is off by {error:.2g} of its largest number")
        elif which in off:
            words.append("agrees with its float64 twin")
        else:
            words.append("could not be compared with its twin")
    ratios = [off[which][name].ratio for which, name in wrong.items()]
    effect = f"{max(ratios):,.0f} times what rounding in float32 explains"
    code = "precision" if all(_is_coarse(off[which]) for which in wrong) else "numerics"
    report(code, a=words[0], b=words[1], effect=effect)


def _is_coarse(off: dict[str, Off]) -> bool:
    """True if all errors are small, as in arithmetic with fewer digits."""
    outputs = off.get("the outputs")
    return outputs is not None and outputs.ratio > 1 and all(o.error < COARSE for o in off.values())
