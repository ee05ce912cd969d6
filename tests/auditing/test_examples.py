"""The examples say what they are said to say: one of them, and all in ``make test-all``."""

import json
from pathlib import Path

import pytest

import diptych

FOLDER = Path(__file__).parents[2] / "examples" / "audit"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
FIRST = "pytorch-defaults"
NAMES = [FIRST, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in EXPECTED if n != FIRST)]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_the_causes_that_it_is_about(name: str) -> None:
    example = EXPECTED[name]
    found = diptych.audit(str(FOLDER / example["a"]), str(FOLDER / example["b"]))
    assert list(dict.fromkeys(finding.code for finding in found.findings)) == example["codes"]
