"""Update: the steps that each side's optimiser makes on the same gradients.

The gradients are of all sizes, so that clipping, epsilon and thresholds show; none, so that decay
shows; and over so many steps that accumulation, schedules and averages show. Given gradients do not
depend on the weights, so that rounding stays as small as it is in one step.
"""

import numpy as np

from diptych.auditing.certificate import TWINS
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.naming import biases, optimisers, paths
from diptych.auditing.naming.paths import Difference
from diptych.auditing.pair import Which, trained
from diptych.auditing.probes import steps as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins

NAME = "update"
MOVED = {TWINS: 2e-5, "float32": 5e-4}
"""How far two steps may be apart, relative to the steps. A constant such as 1 - beta_2 that a
framework stores in float32 is off by 1e-5 of itself, in its twin too."""
LARGEST_STEP = {TWINS: 2e-7, "float32": 1e-5}
"""The same, relative to the number's largest step: a rate that ends near zero is rounded."""
WEIGHT = {TWINS: 4e-15, "float32": 4e-7}
"""The same, relative to the number itself."""


def check(twins: Twins, report: Reporter) -> Stage:
    """Compares the paths on all gradients; names the causes where they differ."""
    stage, pair = Stage(NAME), twins.pair
    before = len(report.audit.findings)
    names = [name for name in trained(pair.sides["a"]) if name in pair.transfer.names]
    differences: list[Difference] = []
    with twins.used(stage.coverage):
        own = {name: pair.sides["a"].own[name] for name in names}
        for regime in probes.regimes(own, twins.own_code["updates"]):
            try:
                both = _paths(twins, regime, names)
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(f"gradients {regime.name}", str(problem))
                continue
            _compare(stage, regime, both, twins.precision, differences)
    stage.ok = not differences
    differences = biases.explain(pair, differences, report)
    if differences:
        optimisers.explain(pair, twins.weights, report)
        ours = [f for f in report.audit.findings[before:] if f.stage in (NAME, "gradients")]
        if not ours:
            paths.explain(pair, differences, report)
    elif stage.ok and stage.coverage.probes:
        stage.note = pair.sides["a"].optimiser.get("kind", "")
    return stage


def _paths(twins: Twins, regime: probes.Regime, names: list[str]) -> dict[Which, Arrays]:
    """The watched numbers of both sides by A's names, (steps + 1, watched)."""
    pair = twins.pair
    own = {
        which: {name: twins.typed(value) for name, value in side.own.items()}
        for which, side in pair.sides.items()
    }
    learned = {which: trained(side) for which, side in pair.sides.items()}
    of_a = probes.plan(regime, own["a"], names, learned["a"])
    of_b = probes.for_b(of_a, pair.transfer, own["b"], learned["b"])
    plans = {"a": of_a, "b": of_b}
    found = twins.ask(lambda side, which: side.updates(plans[which]))
    return {"a": found["a"], "b": probes.for_a(found["b"], pair.transfer)}


def _compare(
    stage: Stage,
    regime: probes.Regime,
    paths: dict[Which, Arrays],
    precision: str,
    differences: list[Difference],
) -> None:
    """Takes in the first step of each parameter in which the paths come apart."""
    moves_at_all = False
    for name, a in paths["a"].items():
        b = paths["b"].get(name)
        if b is None or not a.shape[1]:
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            steps = [np.diff(path.astype(np.float64), axis=0) for path in (a, b)]
        moves_at_all |= any(bool(np.any(step)) for step in steps)
        size = np.maximum(*(np.abs(np.nan_to_num(step)) for step in steps))
        bounds = (
            MOVED[precision] * size
            + LARGEST_STEP[precision] * size.max(axis=0, keepdims=True)
            + WEIGHT[precision] * np.abs(np.nan_to_num(a[:-1]))
            + 1e-30
        )
        broken = ~np.isfinite(steps[0]) & ~np.isfinite(steps[1])
        with np.errstate(invalid="ignore"):
            away = np.where(broken, 0.0, np.nan_to_num(np.abs(steps[0] - steps[1]), nan=np.inf))
        at = np.unravel_index(np.argmax(away / bounds), away.shape)
        stage.saw(float(away[at]), float(bounds[at]))
        wrong = np.argwhere(away > bounds)
        if len(wrong):
            step, number = (int(index) for index in wrong[0])
            differences.append(Difference(regime, step + 1, name, paths, number))
    if not moves_at_all and regime.has_gradients:
        stage.coverage.leave_out(
            f"gradients {regime.name}", "no step of either side moves any weight"
        )
        return
    stage.coverage.compared(len(paths["a"]), gradients=f"{regime.name} ({regime.steps:,} steps)")
    stage.coverage.steps = max(stage.coverage.steps, regime.steps)
