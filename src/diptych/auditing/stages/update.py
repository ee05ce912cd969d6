"""Update: the steps that each side's optimiser makes on the same gradients.

The gradients are of all sizes, so that clipping, epsilon and thresholds show; none, so that decay
shows; and over so many steps that accumulation, schedules and averages show. Given gradients do not
depend on the weights, so that rounding stays as small as it is in one step.
"""

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.naming import biases, optimisers, paths
from diptych.auditing.naming.paths import Difference
from diptych.auditing.pair import SIDES, Which, trained
from diptych.auditing.probes import steps as probes
from diptych.auditing.probes.paths import SOME, Penalties, apart, paths_of
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins

NAME = "update"


def check(twins: Twins, penalties: Penalties, report: Reporter) -> Stage:
    """Compares the paths on all gradients; names the causes where they differ.

    Args:
        twins: both sides.
        penalties: by side and parameter, the factors of squares that are in one side's loss and in
            the other's steps. Their gradients are part of those that the optimisers get.
        report: takes the findings.
    """
    stage, pair = Stage(NAME), twins.pair
    before = len(report.audit.findings)
    names = [name for name in trained(pair.sides["a"]) if name in pair.of_layers]
    differences: list[Difference] = []
    with twins.used(stage.coverage):
        own = {name: pair.sides["a"].own[name] for name in names}
        for regime in probes.regimes(own, twins.own_code["updates"]):
            try:
                both = paths_of(twins, regime, names, penalties)
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(f"gradients {regime.name}", str(problem))
                continue
            _compare(stage, regime, both, twins.precision, differences)
        draws = _draws(twins, names, penalties) if differences else {}
    if any(draws.values()):
        return _drawn(stage, draws, report)
    stage.ok = not differences
    differences = biases.explain(pair, differences, report)
    if differences:
        optimisers.explain(pair, twins.weights, differences, report)
        ours = [f for f in report.audit.findings[before:] if f.stage in (NAME, "gradients")]
        if not ours:
            paths.explain(pair, differences, report)
    elif stage.ok and stage.coverage.probes:
        stage.note = pair.sides["a"].optimiser.get("kind", "")
    return stage


def _draws(twins: Twins, names: list[str], penalties: Penalties) -> dict[Which, bool]:
    """Shows whether a side's steps with the same gradients vary between calls; empty if a side
    cannot be asked this."""
    try:
        one, other = (paths_of(twins, SOME, names, penalties, draw) for draw in (1, 2))
    except (Failed, Unable):
        return {}
    return {
        which: any(
            not np.array_equal(path, other[which][name]) for name, path in one[which].items()
        )
        for which in SIDES
    }


def _drawn(stage: Stage, draws: dict[Which, bool], report: Reporter) -> Stage:
    """The result if the code of a side draws random numbers in its steps, such as noise on the
    gradients: if only one side does, that is a difference; if both do, they are not compared."""
    if all(draws.values()):
        stage.ok, stage.note = None, "code of both sides draws random numbers in each step"
        return stage
    stage.ok = False
    words = {True: "draws random numbers in each step", False: "draws none in its steps"}
    effect = "steps on the same gradients vary from call to call"
    report("randomness", a=words[draws["a"]], b=words[draws["b"]], effect=effect)
    return stage


def _compare(
    stage: Stage,
    regime: probes.Regime,
    paths: dict[Which, Arrays],
    precision: str,
    differences: list[Difference],
) -> None:
    """Adds the first step of each parameter in which the paths differ."""
    moves_at_all = False
    for name, a in paths["a"].items():
        b = paths["b"].get(name)
        if b is None or not a.shape[1]:
            continue
        steps, away, bounds = apart(a, b, precision)
        moves_at_all |= any(bool(np.any(step)) for step in steps)
        at = np.unravel_index(np.argmax(away / bounds), away.shape)
        stage.saw(float(away[at]), float(bounds[at]))
        wrong = np.argwhere(away > bounds)
        if len(wrong):
            step, number = (int(index) for index in wrong[0])
            differences.append(Difference(regime, step + 1, name, paths, number))
    if not moves_at_all and regime.has_gradients:
        stage.coverage.leave_out(
            f"gradients {regime.name}", "no step of either side changes any weight"
        )
        return
    stage.coverage.compared(len(paths["a"]), gradients=f"{regime.name} ({regime.steps:,} steps)")
    stage.coverage.steps = max(stage.coverage.steps, regime.steps)
