"""Randomness: what differs from run to run in training, as distributions.

Both networks are run many times on the same weights and examples, as their users call them in
training. What varies is compared by statistics of each run: projections of all outputs, the size of
the deviations, their largest, and what the examples of a batch share.
"""

import numpy as np

from diptych.auditing.distributions import Drawn, differing
from diptych.auditing.drawn_outputs import CLOSE, EXAMPLES, spread, statistics, varies
from diptych.auditing.endings import as_one
from diptych.auditing.findings import Reporter
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.places import Place, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.twins import Twins, distance, moved, nudged

NAME = "randomness"
RUNS, MORE, FEWEST = 256, 1_024, 24
"""The numbers of runs of the first and of the second sample, and the minimum for either."""
BUDGET = 400_000_000
"""The maximum number of activations in all runs of a sample."""
LOOKS, FEWEST_LOOKS = 128, 8
"""The numbers of runs that show whether a side draws random numbers, even in one run of ten."""
LOOK_BUDGET = 50_000_000
"""The maximum number of activations in these runs."""
CODES = ("dropout-rate", "noise", "augmentation", "training-mode", "layer-missing", "layer-kind")
"""Findings that explain a difference in randomness."""
FUNCTION = ("structure", "forward", "mode", "predictions")
"""Stages whose findings mean that the networks are different functions, so that their outputs have
different distributions in any case."""


def check(twins: Twins, report: Reporter) -> Stage:
    """Runs both sides in training mode, and compares their random variation."""
    stage = Stage(NAME)
    x = {which: twins.typed(twins.examples.x[which][:EXAMPLES]) for which in SIDES}
    with twins.used(stage.coverage):
        weights = weights_at(Place("moved", 1.0, EXAMPLES), twins.start())
        twins.load(weights)
        looks = int(np.clip(LOOK_BUDGET // _activations(twins), FEWEST_LOOKS, LOOKS))
        few = twins.ask(lambda side, which: side.outputs(x[which], training=True, runs=looks))
        drawn = {which: varies(y, twins) for which, y in few.items()}
        if not any(drawn.values()):
            _compare_still(twins, stage, x, few, weights, report)
        elif all(drawn.values()):
            _compare_drawn(twins, stage, x, report)
        else:
            stage.coverage.compared(1, runs=looks)
            stage.ok = False
            said = [
                f"draws random numbers in training: outputs vary by {spread(few[which]):.3g}"
                if drawn[which]
                else "draws none"
                for which in SIDES
            ]
            _report(report, *said)
    return stage


def _activations(twins: Twins) -> int:
    """The number of activations in one run."""
    return max(1, EXAMPLES * sum(int(np.prod(node.shape)) for node in twins.pair.a.nodes))


def _compare_still(
    twins: Twins,
    stage: Stage,
    x: dict[Which, np.ndarray],
    few: dict[Which, np.ndarray],
    weights: dict[str, np.ndarray],
    report: Reporter,
) -> None:
    """Compares the outputs in training directly, since neither side varies."""
    pair = twins.pair
    a, b = as_one(pair, {which: y[0] for which, y in few.items()})

    def near(way: int) -> np.ndarray:
        side = twins.answers["a"]
        side.load(moved(weights, way))
        outputs = side.outputs(nudged(x["a"], np.random.default_rng(1 + way)), training=True)
        return as_one(pair, {"a": outputs[0], "b": few["b"][0]})[0]

    difference = distance(a, b)
    bound = twins.bound(a, difference, near)
    stage.coverage.compared(1, runs=len(few["a"]))
    stage.saw(difference, bound)
    stage.note = "neither side draws random numbers; outputs in training were compared directly"
    stage.ok = difference <= bound
    if not stage.ok and not report.has():
        effect = f"they differ by up to {difference:.3g} (rounding explains up to {bound:.1e})"
        report("unexplained", a="outputs in training", b="other outputs", effect=effect)


def _compare_drawn(
    twins: Twins, stage: Stage, x: dict[Which, np.ndarray], report: Reporter
) -> None:
    pair = twins.pair
    affordable = BUDGET // _activations(twins)
    runs, more = (int(np.clip(affordable, FEWEST, most)) for most in (RUNS, MORE))
    center: list[np.ndarray] = []
    spreads: dict[Which, float] = {}

    def draw(count: int) -> Drawn:
        drawn = twins.ask(lambda side, which: side.outputs(x[which], training=True, runs=count))
        pairs = [as_one(pair, {w: drawn[w][run] for w in SIDES}) for run in range(count)]
        a, b = (np.stack([each[i] for each in pairs]) for i in (0, 1))
        if not center:
            center.append((a.mean(axis=0) + b.mean(axis=0)) / 2)
        stage.coverage.compared(count)
        spreads.update({"a": spread(a), "b": spread(b)})
        return statistics(a, center[0]), statistics(b, center[0]), None

    different = differing(draw, runs, more, CLOSE[twins.precision])
    stage.coverage.compared(0, statistics=len(statistics(np.zeros((1, 2, 2)), np.zeros((2, 2)))))
    stage.note = "as distributions; over runs they deviate by {a:.3g} and {b:.3g}".format(**spreads)
    if different:
        stage.ok = False
        if any(finding.stage in FUNCTION for finding in report.audit.findings):
            stage.note += "; expected from the other findings"
            return
        name, p = different
        a, b = (f"outputs in training deviate by {spreads[which]:.4g}" for which in SIDES)
        _report(report, a, b, f"the distributions of {name} differ, p = {p:.1g}")


def _report(report: Reporter, a: str, b: str, effect: str = "") -> None:
    if not any(finding.code in CODES for finding in report.audit.findings):
        report("randomness", a=a, b=b, effect=effect)
