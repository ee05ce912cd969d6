"""Outputs of networks after training steps, compared as distributions if they are drawn.

A network may draw from other distributions later, such as dropout that grows, or keep what it has
drawn, such as a mask for a whole epoch.
"""

import numpy as np

from diptych.auditing.certificate import LATER
from diptych.auditing.distributions import Drawn, differing
from diptych.auditing.drawn_outputs import (
    BUDGET,
    CLOSE,
    EXAMPLES,
    affordable,
    spread,
    statistics,
    varies,
)
from diptych.auditing.endings import as_one
from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.places import Place, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins

RUNS, MORE, FEWEST = 128, 512, 48
"""The numbers of runs of the first and of the second sample after training steps, and the minimum
for either."""
KEPT = 0.6
"""The correlation of consecutive runs from which on a network keeps what it has drawn. `RUNS`
independent runs have 0.43 once in a million, `FEWEST` 0.6 once in 60,000."""


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
    if reason := twins.pair.lacks("later_outputs"):
        stage.coverage.leave_out("random draws after the first step", reason)
        return
    x = {which: batches[which][0][0][:EXAMPLES] for which in SIDES}
    y = {which: batches[which][0][1][:EXAMPLES] for which in SIDES}
    twins.load(weights_at(Place("moved", 1.0, EXAMPLES), twins.start()))
    first = 1

    def ask(count: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal first
        seeds = range(first, first + count)
        first += count
        outputs = twins.ask(
            lambda side, which: side.later_outputs(batches[which], steps, x[which], y[which], seeds)
        )
        pairs = [as_one(twins.pair, {w: outputs[w][run] for w in SIDES}) for run in range(count)]
        a, b = (np.stack([both[i] for both in pairs]) for i in (0, 1))
        return a, b

    runs, more = (affordable(twins, BUDGET, FEWEST, most) for most in (RUNS, MORE))
    try:
        start = ask(runs)
        words = [_words(y, twins) for y in start]
        different = None
        if words[0] == words[1] == DRAWS_ANEW:
            center = (start[0].mean(axis=0) + start[1].mean(axis=0)) / 2
            drawn = [start]

            def draw(count: int) -> Drawn:
                a, b = drawn.pop() if drawn else ask(count)
                return statistics(a, center), statistics(b, center), None

            different = differing(draw, runs, more, CLOSE[twins.precision])
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
    stage.coverage.compared(runs, **{LATER.replace(" ", "_"): f"{steps:,}"})


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
