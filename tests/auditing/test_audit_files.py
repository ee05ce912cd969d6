"""An audit as a file or as annotations: SARIF, JUnit's XML, GitHub."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from diptych.auditing.locations import Location, locations
from diptych.auditing.report import Audit, Finding, Stage
from diptych.render.audit_files import checked, write
from diptych.render.github import annotations
from diptych.render.sarif import sarif
from support import diptych

SIDE = "import numpy\n\n\ndef build():\n    pass\n"


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    for file in (tmp_path / "old" / "a.py", tmp_path / "b.py"):
        file.write_text(SIDE)
    result = Audit("old/a.py:build", "b.py:build", ("Keras 3", "PyTorch 2"))
    result.stages = [
        Stage("structure", False, note="2 layers"),
        Stage("forward"),
        Stage("update", None, note="a side has no loss and optimiser"),
        Stage("loss", None, note="an error in the audit itself: KeyError: 'x'", fault=True),
    ]
    place = "pool (a.py:2) / pool (b.py:3)"
    result.findings = [
        Finding("structure", "pooling", place, "max & more", "mean <2>", "50%, all", "MaxPool2d"),
        Finding("mode", "training-mode", "drop", "predicts", "trains", "", ""),
    ]
    result.accepted = [Finding("initial weights", "kernel-initialiser", None, "x", "y", "", "z")]
    return result


def test_a_finding_is_at_the_lines_that_it_names(audit: Audit) -> None:
    assert locations(audit, audit.findings[0]) == [
        Location(Path("old/a.py"), 2),
        Location(Path("b.py"), 3),
    ]


def test_a_finding_without_lines_is_at_the_functions(audit: Audit) -> None:
    functions = [Location(Path("old/a.py"), 4), Location(Path("b.py"), 4)]
    assert locations(audit, audit.findings[1]) == functions
    audit.a = audit.b = "keras:article"
    assert locations(audit, audit.findings[1]) == []


def test_annotations_escape_what_github_reads(audit: Audit) -> None:
    lines = annotations(audit)
    assert len(lines) == 4
    start = "::error file=old/a.py,line=2,title=pooling (structure)::pooling at pool (a.py:2)"
    assert lines[0].startswith(start) and "50%25, all" in lines[0]
    audit.a = audit.b = "keras:article"
    audit.findings[0] = Finding("loss", "loss-reduction", None, "one\nline", "b", "", "")
    (line, _) = annotations(audit, Location(Path("test_x.py"), 7))
    assert line.startswith("::error file=test_x.py,line=7,title=") and "one%0Aline" in line


def test_sarif_has_rules_results_and_suppressions(audit: Audit) -> None:
    log = json.loads(json.dumps(sarif(audit)))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == ["pooling", "training-mode", "kernel-initialiser"]
    first, _, accepted = run["results"]
    assert rules[first["ruleIndex"]] == first["ruleId"] == "pooling"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "old/a.py" and place["region"]["startLine"] == 2
    assert "suppressions" not in first and accepted["suppressions"][0]["kind"] == "external"
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"].split()[0] for note in notes] == ["update", "loss"]


def test_junit_has_a_test_for_each_stage(audit: Audit, tmp_path: Path) -> None:
    write(audit, tmp_path / "audit.xml")
    root = ElementTree.parse(tmp_path / "audit.xml").getroot()
    (suite,) = root
    assert suite.attrib == {
        "name": "old/a.py:build against b.py:build",
        "tests": "5",  # A finding may be of a stage that was not run itself.
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failure = cases["structure"].find("failure")
    assert failure is not None and failure.get("message") == "pooling"
    assert "A: max & more. B: mean <2>." in (failure.text or "")
    assert cases["forward"].find("failure") is None
    assert cases["update"].find("skipped") is not None
    assert cases["loss"].find("error") is not None and cases["mode"].find("failure") is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--report", "x.html"), "--report x.html: expected a file with the suffix .sarif (SARIF)"),
        (("--report", "no/x.xml"), "--report no/x.xml: there is no folder no to write it in"),
        (("--accept", "paddin"), "accept 'paddin': no such cause (did you mean padding?)"),
        (("--only", "los"), "only 'los': no such stage (did you mean loss?)"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    done = diptych("audit", "numpy:article", "numpy:article", *arguments)
    assert done.returncode == 2 and done.stderr.startswith(f"diptych: {message}")
    assert done.stderr.count("\n") == 1


def test_endings_may_be_in_capitals() -> None:
    assert checked(Path("A.SARIF")) == Path("A.SARIF")
