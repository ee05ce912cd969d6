"""Randomness: what differs from run to run in training, as distributions.

Both networks are run many times on the same weights and examples, as their users call them in
training.
"""

import numpy as np

from diptych.auditing.drawn_outputs import EXAMPLES, Looks, compare, look, spread
from diptych.auditing.endings import as_one, of_both
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.places import Place, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.twins import Twins, distance, moved, nudged

NAME = "randomness"
CODES = ("dropout-rate", "noise", "augmentation", "training-mode", "layer-missing", "layer-kind")
"""Findings that explain a difference in randomness."""
FUNCTION = ("structure", "forward", "mode", "predictions")
"""Stages whose findings mean that the networks are different functions, so that their outputs have
different distributions in any case."""


def check(twins: Twins, report: Reporter) -> Stage:
    """Runs both sides in training mode, and compares their random variation."""
    stage = Stage(NAME)
    x = {which: twins.inputs[which][:EXAMPLES] for which in SIDES}
    with twins.used(stage.coverage):
        weights = weights_at(Place("moved", 1.0, EXAMPLES), twins.start())
        twins.load(weights)
        looks = look(twins, x, training=True)
        few, varies = looks.outputs, looks.varies
        if all(varies.values()):
            twins.network_draws = dict(varies)
        one, other = of_both(twins.pair, {which: y[0] for which, y in few.items()})
        if one.shape != other.shape:
            stage.ok, stage.note = None, "the outputs of both sides have different sizes"
            return stage
        if not any(varies.values()):
            _compare_still(twins, stage, x, few, weights, report)
        elif all(varies.values()):
            _compare_drawn(twins, stage, x, weights, looks, report)
        else:
            stage.coverage.compared(1, runs=len(few["a"]))
            stage.ok = False
            said = [
                f"draws random numbers in training: outputs vary by {spread(few[which]):.3g}"
                if varies[which]
                else "draws none"
                for which in SIDES
            ]
            _report(report, *said)
    return stage


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
    twins: Twins,
    stage: Stage,
    x: dict[Which, np.ndarray],
    weights: Arrays,
    looks: Looks,
    report: Reporter,
) -> None:
    different, spreads = compare(twins, x, True, weights, looks, stage.coverage)
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
