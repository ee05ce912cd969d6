"""The whole functions have the last word on layers, and on nothing else."""

import pytest

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.report import Audit, Finding, Stage
from diptych.auditing.whole import LAYERS, NEEDED, WELCOME, settle


def finding(stage: str, code: str) -> Finding:
    return Finding(stage, code, "mul_1", "rescale", "no such layer", "", "")


def audited(*findings: Finding) -> Audit:
    result = Audit("a", "b", ("PyTorch 2", "PyTorch 2"))
    for name in (*LAYERS, *NEEDED, *WELCOME):
        stage = Stage(name, all(finding.stage != name for finding in findings))
        stage.coverage.compared(3)
        stage.coverage.precision = TWINS
        result.stages.append(stage)
    result.findings.extend(findings)
    return result


def stage_of(result: Audit, name: str) -> Stage:
    return next(stage for stage in result.stages if stage.name == name)


def test_other_layers_of_the_same_function_are_noted() -> None:
    result = audited(finding("structure", "layer-missing"), finding("mode", "training-mode"))
    stage_of(result, "gradients").ok = None  # One side alone draws random numbers in its own code.
    settle(result)
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
    settle(result)
    assert len(result.findings) == 1 and not result.notes


def test_they_stay_findings_beside_others() -> None:
    result = audited(finding("structure", "layer-missing"), finding("update", "learning-rate"))
    settle(result)
    assert len(result.findings) == 2
