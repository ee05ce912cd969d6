"""What an audit says, and how its parts are asked for."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import diptych
from diptych import InputError
from diptych.auditing.causes import CAUSES, advice
from diptych.auditing.certificate import FLOAT32, TWINS, Coverage, summary
from diptych.auditing.report import STAGES, Audit, Finding, Stage
from diptych.auditing.spec import parse


@pytest.fixture
def parted() -> Audit:
    audit = Audit("a.py:build", "b.py:build", ("Keras 3", "PyTorch 2"))
    audit.stages = [Stage(name) for name in STAGES]
    audit.stages[0].ok = False
    audit.stages[3].saw(3.1e-6, 8.8e-6)
    frameworks = audit.frameworks
    finding = Finding(
        "structure", "pooling", "pool <1>", "max", "mean", "much", advice("pooling", *frameworks)
    )
    audit.findings.append(finding)
    return audit


def test_the_conclusion_names_the_stage_of_the_first_finding(parted: Audit) -> None:
    parted.findings = [Finding("mode", "training-mode", "drop", "predicts", "trains", "", "")]
    assert parted.conclusion == "They differ, above all in mode: training-mode."


def test_what_is_said_of_many_layers_is_said_once(parted: Audit) -> None:
    one = parted.findings[0]
    parted.findings += [replace(one, layer=f"pool {n}") for n in (2, 3)]
    parted.findings.insert(1, replace(one, code="padding", layer="conv"))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(parted)
    text = console.export_text()
    assert text.count("pooling at") == 1 and "Also at pool 2, pool 3" in text
    assert text.index("1. pooling at pool <1>") < text.index("2. padding at conv")
    assert len(parted.to_dict()["findings"]) == 4


def test_an_audit_as_json_has_what_is_promised(parted: Audit) -> None:
    found = json.loads(json.dumps(parted.to_dict(), allow_nan=False))
    assert found["schema"] == 1
    assert found["same"] is False
    assert set(found["stages"][0]) >= {"name", "ok", "largest_difference", "rounding_bound"}
    keys = {"stage", "code", "layer", "a", "b", "effect", "advice", "harm"}
    assert set(found["findings"][0]) == keys


def test_an_audit_on_a_terminal_and_in_a_notebook(parted: Audit) -> None:
    console = Console(width=100, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(parted)
    text = capture.get()
    assert "✗ structure" in text
    assert "max difference 3.1e-06, rounding explains up to 8.8e-06" in " ".join(text.split())
    assert "MaxPool2d or AvgPool2d" in text
    assert "They differ, above all in structure: pooling." in text
    assert "pool &lt;1&gt;" in parted._repr_html_()


def test_no_difference_only_if_no_stage_failed() -> None:
    absent = Stage("input", None, note="neither side has data")
    audit = Audit("a", "b", ("Keras 3", "Keras 3"), [Stage("structure"), absent])
    audit.stages[0].coverage.compared(5, layers="every one")
    assert audit.same and not audit.complete
    assert audit.conclusion == (
        "No difference found: 5 probes in 1 stages. Not compared: input (neither side has data)."
    )
    audit.stages.append(Stage("forward", ok=False))
    assert not audit.same


def test_the_last_line_says_in_which_precision_and_up_to_which_step() -> None:
    audit = Audit("a", "b", ("Keras 3", "PyTorch 2"))
    for name, precision, steps in (("update", TWINS, 1_100), ("loss", FLOAT32, 0)):
        stage = Stage(name)
        stage.coverage.compared(10, batches_of=32)
        stage.coverage.precision, stage.coverage.steps = precision, steps
        audit.stages.append(stage)
    assert audit.complete
    assert audit.conclusion == (
        "No difference found: 20 probes in 2 stages, on float64 twins (in float32: loss), "
        "training up to step 1,100."
    )
    schedule = Stage("schedule")
    schedule.coverage.compared(3)
    schedule.coverage.steps = 100_000
    audit.stages.append(schedule)
    assert audit.conclusion.endswith(
        "training up to step 1,100, learning rates up to step 100,000. "
        "After step 1,100 only the learning rates were compared."
    )
    audit.stages.pop()
    audit.stages[0].coverage.leave_out("gradients of zero", "the step of B fails")
    assert not audit.complete
    assert audit.conclusion.endswith(
        "Not compared: update: gradients of zero: the step of B fails."
    )


def test_the_kept_difference_is_the_one_that_rounding_explains_least() -> None:
    stage = Stage("forward")
    for difference, bound in [(1e-3, 1.0), (1e-6, 1e-5), (1e-9, 1e-7)]:
        stage.saw(difference, bound)
    assert (stage.largest_difference, stage.rounding_bound) == (1e-6, 1e-5)


@pytest.mark.parametrize("code", CAUSES)
def test_every_cause_has_a_mend_in_every_framework(code: str) -> None:
    for framework in ("Keras 3 on PyTorch 2", "PyTorch 2", "TensorFlow 2", "NumPy 2", "ONNX 1"):
        if code == "gradients-not-cleared" and framework.startswith("Keras"):
            continue
        assert advice(code, framework, framework)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("nothing", "nothing of that name"),
        ("keras:laeky", "did you mean leaky"),
        ("kreas:article", "did you mean keras"),
        ("missing.keras", "no such file"),
        ("weights.h5", "cannot be audited"),
        ("missing.py:build", "no file missing.py"),
        ("missing.py", "which function"),
    ],
)
def test_a_side_that_is_not_there(given: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(given)


def test_specifications(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("def build(): ...")
    spec = parse(f"{file}@torch:build")
    assert (spec.form, spec.where, spec.name, spec.backend) == ("file", str(file), "build", "torch")
    assert parse("keras@jax:article").backend == "jax"


def test_both_sides_are_looked_at_before_a_process_starts() -> None:
    with pytest.raises(InputError, match="no such file"):
        diptych.audit("keras:article", "missing.keras")


def test_numbers_that_are_none_are_left_out_of_json() -> None:
    stage = Stage("trajectory", False, float("inf"), float("nan"))
    assert stage.to_dict()["largest_difference"] is None
    json.dumps(stage.to_dict(), allow_nan=False)


def test_the_last_line_says_when_randomness_was_compared() -> None:
    drawn, still = Coverage(), Coverage()
    drawn.compared(256, statistics=12)
    still.compared(1, runs=64)
    words = "Random draws were compared only before the first step."
    assert summary({"randomness": drawn}, {}, []).endswith(words)
    assert words not in summary({"randomness": still}, {}, [])
