"""Whole functions decide about differences in layers.

Two networks may be the same function with different layers: a hand-written dropout, a scale in two
steps. If everything that the layers compute is the same on float64 twins, a difference in layers
does not count.
"""

from diptych.auditing.certificate import TWINS
from diptych.auditing.report import Audit, Stage

LAYERS = {"structure": ("layer-missing", "layer-kind"), "mode": ("training-mode", "unexplained")}
"""The findings about single layers, by stage."""
BESIDE = ("activation", "activation-limits")
"""Findings that follow if a layer has no counterpart, because its neighbours are then compared with
each other."""
NEEDED = ("predictions", "randomness", "loss", "update")
"""Stages of whole functions, none of which may have found a difference on twins."""
WELCOME = ("gradients", "trajectory", "numerics")
"""Stages that must not have found a difference, but may have been unable to compare, because only
one side's code draws random numbers."""


def settle(result: Audit) -> None:
    """Turns findings about single layers into notes, if there are no others and the whole functions
    are the same."""
    layers = [f for f in result.findings if f.code in LAYERS.get(f.stage, ())]
    if any(finding.code == "layer-missing" for finding in layers):
        layers += [f for f in result.findings if f.stage == "structure" and f.code in BESIDE]
    if not layers or len(layers) < len(result.findings) or not _are_the_same(result):
        return
    result.findings.clear()
    for finding in layers:
        result.notes.append(
            f"{finding.layer}: {finding.a} against {finding.b}; the whole networks compute the same"
        )
    for stage in result.stages:
        if stage.name in LAYERS and stage.ok is False:
            stage.ok = True
            stage.note = "different layers that compute the same"


def without_followers(result: Audit) -> None:
    """Drops a finding about an optimiser's steps if a schedule explains it: the rates differ, and
    both sides report the same kind of optimiser."""
    one, other = result.optimisers or ("", "")
    if not one or one != other or not any(f.stage == "schedule" for f in result.findings):
        return
    followers = [f for f in result.findings if f.stage == "update" and f.code == "optimiser"]
    if not followers:
        return
    result.findings = [finding for finding in result.findings if finding not in followers]
    for stage in result.stages:
        if stage.name == "update":
            stage.note = "expected from the other findings"


def _are_the_same(result: Audit) -> bool:
    stages = {stage.name: stage for stage in result.stages}
    needed = [stages.get(name) for name in NEEDED]
    welcome = [stages.get(name) for name in WELCOME]
    return all(stage and _agrees(stage) for stage in needed) and all(
        stage and stage.ok is not False for stage in welcome
    )


def _agrees(stage: Stage) -> bool:
    return stage.ok is True and stage.coverage.precision in (TWINS, "")
