"""Outputs of networks that draw random numbers, compared as distributions.

Before the first step, each run is independent of the others. After training steps, a network may
also keep what it has drawn, such as a mask for a whole epoch.
"""

import numpy as np

from diptych.auditing.certificate import LATER, TWINS
from diptych.auditing.distributions import Drawn, Statistics, differing
from diptych.auditing.endings import as_one
from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.places import Place, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins, distance

EXAMPLES = 4
PROJECTIONS = 8
CLOSE = {TWINS: 1e-9, "float32": 1e-5}
"""The relative difference of two statistics that rounding explains."""
STILL = {TWINS: 1e-12, "float32": 2e-6}
"""The relative difference of two runs that does not count as randomness."""
RUNS, MORE = 128, 512
"""The numbers of runs of the first and of the second sample after training steps."""
KEPT = 0.6
"""The correlation of consecutive runs from which on a network keeps what it has drawn. `RUNS`
independent runs have 0.43 once in a million."""


def varies(y: np.ndarray, twins: Twins) -> bool:
    """True if runs (runs, n, …) differ from each other by more than rounding."""
    size = float(np.abs(y[np.isfinite(y)]).max(initial=0.0))
    return any(distance(run, y[0]) > twins.unit * STILL[twins.precision] * size for run in y[1:])


def spread(y: np.ndarray) -> float:
    """The standard deviation over runs, root mean square."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.sqrt(np.mean(np.var(y.astype(np.float64), axis=0))))


def statistics(y: np.ndarray, center: np.ndarray) -> Statistics:
    """The statistics of each run.

    Args:
        y: outputs (runs, n, …).
        center: the mean output (n, …), the same for both sides.
    """
    away = (y.astype(np.float64) - center).reshape(len(y), len(center), -1)
    away = np.nan_to_num(away, nan=1e300, posinf=1e300, neginf=-1e300)
    chance = np.random.default_rng(9)
    found: Statistics = {}
    with np.errstate(over="ignore"):
        for number in range(PROJECTIONS):
            direction = chance.standard_normal(away.shape[1:])
            found[f"projection {number + 1}"] = np.tensordot(away, direction, 2)
        squares = np.mean(np.square(away), axis=(1, 2))
        found["the size of the deviations"] = squares
        found["the largest deviation"] = np.abs(away).max(axis=(1, 2))
        found["what the examples of a batch share"] = np.mean(np.square(away.mean(axis=1)), axis=1)
        found["the first example's deviation"] = np.mean(np.square(away[:, 0]), axis=1)
    return found


Batches = dict[Which, list[tuple[np.ndarray, np.ndarray]]]


def compare_later(
    twins: Twins, batches: Batches, steps: int, stage: Stage, report: Reporter
) -> None:
    """Compares what the networks draw in the steps that follow others.

    Args:
        twins: both sides.
        batches: of the training steps, in a cycle.
        steps: the number of steps.
        stage: to which the coverage is added.
        report: takes the finding.
    """
    x = {which: batches[which][0][0][:EXAMPLES] for which in SIDES}
    y = {which: batches[which][0][1][:EXAMPLES] for which in SIDES}
    twins.load(weights_at(Place("moved", 1.0, EXAMPLES), twins.start()))
    first = 1

    def ask(runs: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal first
        seeds = range(first, first + runs)
        first += runs
        outputs = twins.ask(
            lambda side, which: side.later_outputs(batches[which], steps, x[which], y[which], seeds)
        )
        pairs = [as_one(twins.pair, {w: outputs[w][run] for w in SIDES}) for run in range(runs)]
        a, b = (np.stack([both[i] for both in pairs]) for i in (0, 1))
        return a, b

    try:
        start = ask(RUNS)
        words = [_words(y, twins) for y in start]
        different = None
        if words[0] == words[1] == DRAWS_ANEW:
            center = (start[0].mean(axis=0) + start[1].mean(axis=0)) / 2
            drawn = [start]

            def draw(runs: int) -> Drawn:
                a, b = drawn.pop() if drawn else ask(runs)
                return statistics(a, center), statistics(b, center), None

            different = differing(draw, RUNS, MORE, CLOSE[twins.precision])
    except (Failed, Unable) as problem:
        stage.coverage.leave_out("random draws after the first step", str(problem))
        return
    effect = f"in training, after {steps:,} steps"
    if different:
        spreads = [f"outputs deviate by {spread(y):.4g}" for y in start]
        effect += f"; the distributions of {different[0]} differ, p = {different[1]:.1g}"
        report("randomness", a=spreads[0], b=spreads[1], effect=effect)
    elif words[0] != words[1]:
        report("randomness", a=words[0], b=words[1], effect=effect)
    elif words[0] == KEEPS:
        stage.coverage.leave_out("random draws after the first step", "both sides keep them")
        return
    stage.ok = not (different or words[0] != words[1])
    stage.coverage.compared(RUNS, **{LATER.replace(" ", "_"): f"{steps:,}"})


DRAWS_ANEW = "draws random numbers in each step"
KEEPS = "draws random numbers and keeps them for several steps"


def _words(y: np.ndarray, twins: Twins) -> str:
    """How runs (runs, n, …) follow each other."""
    if not varies(y, twins):
        return "draws no random numbers"
    away = (y.astype(np.float64) - y.mean(axis=0)).reshape(len(y), -1)
    away = np.nan_to_num(away, posinf=0.0, neginf=0.0)
    total = float(np.sum(np.square(away)))
    kept = float(np.sum(away[1:] * away[:-1])) / total if total else 0.0
    return KEEPS if kept > KEPT else DRAWS_ANEW
