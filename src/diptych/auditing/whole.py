"""Whole functions decide about differences in layers.

Two networks may be the same function with different layers: a hand-written dropout, a scale in two
steps, a distance in one layer or in five. If the outputs of the whole networks are the same on
float64 twins, in inference and in training, a difference in layers does not count. It is set aside
before the loss is compared, so that the later stages look for causes of their own, and comes back
where one of them shows that the layers may differ after all.
"""

from diptych.auditing.black_boxes import OTHER_NUMBERS, OTHER_SHAPES
from diptych.auditing.certificate import TWINS
from diptych.auditing.report import Audit, Finding, Stage

LAYERS = {
    "structure": ("layer-missing", "layer-kind", "flatten-order"),
    "forward": (),
    "mode": ("training-mode", "unexplained"),
}
"""The findings about single layers, by stage; in the stage forward, those about unknown layers."""
BESIDE = ("activation", "activation-limits", "padding")
"""Findings that follow if a layer has no counterpart, because its neighbours are then compared with
each other."""
OUTPUTS = ("predictions", "randomness")
"""Stages that compare the outputs of the whole networks. Both must agree on twins."""
DECIDING = ("loss", "update")
"""Stages that must agree on twins, or have found a difference of their own, which is none of the
layers'."""
OF_NETWORKS = ("structure", "forward", "predictions", "mode", "randomness")
LATER = {
    "gradients": ("loss",),
    "trajectory": ("loss", "update", "schedule", "settings"),
    "numerics": (),
}
"""Stages in which a difference may be the layers' doing, because layers that give the same outputs
may have other gradients, or another state after a step; with the stages whose findings explain such
a difference instead."""


def set_aside(result: Audit) -> list[Finding]:
    """Takes the findings about single layers out of an audit, if the outputs of the whole networks
    agree and there is no other finding about the networks."""
    layers = [f for f in result.findings if f.code in LAYERS.get(f.stage, ()) or _is_unknown(f)]
    if any(finding.code == "layer-missing" for finding in layers):
        layers += [f for f in result.findings if f.stage == "structure" and f.code in BESIDE]
    others = [f for f in result.findings if f not in layers]
    if any(finding.stage in OF_NETWORKS for finding in others):
        return []
    stages = {stage.name: stage for stage in result.stages}
    if not all(name in stages and _agrees(stages[name]) for name in OUTPUTS):
        return []
    result.findings[:] = others
    return layers


def _is_unknown(finding: Finding) -> bool:
    """True for a difference of two layers of which one is unknown, in inference."""
    beginnings = (OTHER_NUMBERS, OTHER_SHAPES)
    return finding.stage == "forward" and finding.effect.startswith(beginnings)


def settle(result: Audit, layers: list[Finding]) -> None:
    """Turns findings that were set aside into notes, or puts them back.

    They stay findings if a stage of `LATER` found a difference that the loss does not explain, or a
    stage of `DECIDING` could not compare both sides. A loss that cannot be asked about given
    outputs is compared with the gradients.
    """
    if not layers:
        return
    if not _are_the_same(result):
        result.findings[:0] = layers
        return
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


def without_unused(result: Audit) -> None:
    """Turns a finding that one side has no gradient for a parameter into a note, if both sides take
    the same steps all the same: a step may drop what it has computed."""
    unused = [f for f in result.findings if (f.stage, f.code) == ("gradients", "frozen-parameter")]
    stages = {stage.name: stage for stage in result.stages}
    steps = [stages.get(name) for name in ("update", "trajectory")]
    if not unused or not all(stage and _agrees(stage) for stage in steps):
        return
    if any(
        f.stage in ("gradients", "update", "trajectory") and f not in unused
        for f in result.findings
    ):
        return
    result.findings = [finding for finding in result.findings if finding not in unused]
    for finding in unused:
        result.notes.append(f"{finding.layer}: one side computes a gradient that its step drops")
    stages["gradients"].ok = True
    stages["gradients"].note = "but for gradients that a step drops"


def _are_the_same(result: Audit) -> bool:
    stages = {stage.name: stage for stage in result.stages}
    with_findings = {finding.stage for finding in result.findings}
    if with_findings & {*LATER, *OF_NETWORKS}:
        return False
    by_gradients = "gradients" in stages and _agrees(stages["gradients"])
    for name in DECIDING:
        stage = stages.get(name)
        if stage is None:
            return False
        unasked = name == "loss" and stage.ok is None and by_gradients
        if not (_agrees(stage) or name in with_findings or unasked):
            return False
    return all(
        name in stages and (stages[name].ok is not False or with_findings & {*causes})
        for name, causes in LATER.items()
    )


def _agrees(stage: Stage) -> bool:
    return stage.ok is True and stage.coverage.precision in (TWINS, "")
