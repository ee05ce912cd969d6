"""The whole functions have the last word on layers.

Two networks may be the same function of other layers: a dropout written by hand, a scale in two
steps. Where all that the layers make is the same on float64 twins, other layers are no difference.
"""

from diptych.auditing.certificate import TWINS
from diptych.auditing.report import Audit, Stage

LAYERS = {"structure": ("layer-missing", "layer-kind"), "mode": ("training-mode", "unexplained")}
"""By stage, the findings that are of single layers."""
BESIDE = ("activation", "activation-limits")
"""Findings that follow where a layer has no partner: its neighbours are held against each other."""
NEEDED = ("predictions", "randomness", "loss", "update")
"""Stages of whole functions, all of which must have found no difference on twins."""
WELCOME = ("gradients", "trajectory", "numerics")
"""Stages that must not have found one, but may be unable to compare: where code of one side alone
draws random numbers, they say so."""


def settle(result: Audit) -> None:
    """Makes notes of the findings of single layers, where there are no others and the whole
    functions are the same."""
    layers = [f for f in result.findings if f.code in LAYERS.get(f.stage, ())]
    if any(finding.code == "layer-missing" for finding in layers):
        layers += [f for f in result.findings if f.stage == "structure" and f.code in BESIDE]
    if not layers or len(layers) < len(result.findings) or not _are_the_same(result):
        return
    result.findings.clear()
    for finding in layers:
        result.notes.append(
            f"{finding.layer}: {finding.a} against {finding.b}; what the whole networks compute is "
            "the same"
        )
    for stage in result.stages:
        if stage.name in LAYERS and stage.ok is False:
            stage.ok = True
            stage.note = "other layers, which compute the same"


def without_followers(result: Audit) -> None:
    """Drops an optimiser's other steps where a schedule explains them: the rates differ, and both
    sides say that they have the same kind of optimiser."""
    one, other = result.optimisers or ("", "")
    if not one or one != other or not any(f.stage == "schedule" for f in result.findings):
        return
    followers = [f for f in result.findings if f.stage == "update" and f.code == "optimiser"]
    if not followers:
        return
    result.findings = [finding for finding in result.findings if finding not in followers]
    for stage in result.stages:
        if stage.name == "update":
            stage.note = "as the findings make one expect"


def _are_the_same(result: Audit) -> bool:
    stages = {stage.name: stage for stage in result.stages}
    needed = [stages.get(name) for name in NEEDED]
    welcome = [stages.get(name) for name in WELCOME]
    return all(stage and _agrees(stage) for stage in needed) and all(
        stage and stage.ok is not False for stage in welcome
    )


def _agrees(stage: Stage) -> bool:
    return stage.ok is True and stage.coverage.precision in (TWINS, "")
