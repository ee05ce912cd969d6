"""The whole functions have the last word on layers, and on nothing else."""

import pytest

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.report import Audit, Finding, Stage
from diptych.auditing.whole import (
    DECIDING,
    LATER,
    LAYERS,
    OUTPUTS,
    set_aside,
    settle,
    without_unused,
)


def finding(stage: str, code: str) -> Finding:
    return Finding(stage, code, "mul_1", "rescale", "no such layer", "", "")


def audited(*findings: Finding) -> Audit:
    result = Audit("a", "b", ("PyTorch 2", "PyTorch 2"))
    for name in (*LAYERS, *OUTPUTS, *DECIDING, *LATER):
        stage = Stage(name, all(finding.stage != name for finding in findings))
        stage.coverage.compared(3)
        stage.coverage.precision = TWINS
        result.stages.append(stage)
    result.findings.extend(findings)
    return result


def stage_of(result: Audit, name: str) -> Stage:
    return next(stage for stage in result.stages if stage.name == name)


def settled(result: Audit, *later: Finding) -> None:
    """Settles an audit whose later stages report these findings."""
    layers = set_aside(result)
    result.findings.extend(later)
    settle(result, layers)


def test_other_layers_of_the_same_function_are_noted() -> None:
    result = audited(finding("structure", "layer-missing"), finding("mode", "training-mode"))
    stage_of(result, "gradients").ok = None  # One side alone draws random numbers in its own code.
    settled(result)
    assert result.same
    assert len(result.notes) == 2 and all("mul_1: rescale" in note for note in result.notes)


@pytest.mark.parametrize(
    ("name", "ok", "precision"),
    [
        ("predictions", False, TWINS),
        ("randomness", None, TWINS),
        ("randomness", True, FLOAT32),
        ("trajectory", False, TWINS),
    ],
)
def test_they_stay_findings_where_the_whole_was_not_seen_to_be_the_same(
    name: str, ok: bool | None, precision: str
) -> None:
    result = audited(finding("structure", "layer-missing"))
    stage_of(result, name).ok = ok
    stage_of(result, name).coverage.precision = precision
    settled(result)
    assert len(result.findings) == 1 and not result.notes


def settled_beside(stage: str, code: str, differing: tuple[str, ...]) -> Audit:
    """An audit that found a layer, and later something else, with the stages that differ."""
    result = audited(finding("structure", "layer-missing"))
    for name in differing:
        stage_of(result, name).ok = False
    settled(result, finding(stage, code))
    return result


@pytest.mark.parametrize(
    ("stage", "code", "differing"),
    [
        ("loss", "loss", ("loss", "gradients", "trajectory")),
        ("update", "learning-rate", ("update", "trajectory")),
        ("initial weights", "kernel-initialiser", ()),
    ],
)
def test_they_do_not_stand_beside_what_is_not_of_the_layers(
    stage: str, code: str, differing: tuple[str, ...]
) -> None:
    result = settled_beside(stage, code, differing)
    assert [f.code for f in result.findings] == [code] and len(result.notes) == 1


@pytest.mark.parametrize(
    ("stage", "code", "differing"),
    [
        ("gradients", "frozen-parameter", ("gradients",)),  # As a layer without a gradient does.
        ("trajectory", "unexplained", ("trajectory",)),
        ("update", "learning-rate", ("update", "gradients")),
        ("initial weights", "kernel-initialiser", ("gradients",)),
    ],
)
def test_they_stay_where_a_later_difference_may_be_theirs(
    stage: str, code: str, differing: tuple[str, ...]
) -> None:
    result = settled_beside(stage, code, differing)
    assert len(result.findings) == 2 and not result.notes


def test_they_stay_beside_another_difference_of_the_networks() -> None:
    result = audited(finding("structure", "layer-missing"), finding("mode", "batchnorm-momentum"))
    settled(result)
    assert len(result.findings) == 2


@pytest.mark.parametrize(
    ("effect", "settles"),
    [
        ("on the same input and weights they differ by up to 1, most on example 0", True),
        ("their outputs' shapes differ", True),
        ("the smallest input that fails: example 3 of 32", False),  # It isn't what it declares.
    ],
)
def test_unknown_layers_may_be_cut_differently(effect: str, settles: bool) -> None:
    layer = Finding("forward", "layer-kind", "get_item", "a", "b", effect, "")
    result = audited(layer)
    settled(result)
    assert result.same is settles and bool(result.notes) is settles


def test_a_loss_that_cannot_be_asked_is_compared_with_the_gradients() -> None:
    result = audited(finding("structure", "layer-missing"))
    stage_of(result, "loss").ok = None
    settled(result)
    assert result.same and result.notes
    result = audited(finding("structure", "layer-missing"))
    stage_of(result, "loss").ok = stage_of(result, "gradients").ok = None
    settled(result)
    assert len(result.findings) == 1


@pytest.mark.parametrize(
    ("trajectory", "other", "same"),
    [(True, "", True), (False, "", False), (None, "", False), (True, "gradient-scale", False)],
)
def test_a_gradient_that_no_step_uses_is_noted(
    trajectory: bool | None, other: str, same: bool
) -> None:
    others = [finding("gradients", other)] if other else []
    result = audited(finding("gradients", "frozen-parameter"), *others)
    stage_of(result, "trajectory").ok = trajectory
    without_unused(result)
    assert not result.findings if same else len(result.findings) == 1 + len(others)
    assert bool(result.notes) is same and bool(stage_of(result, "gradients").ok) is same
