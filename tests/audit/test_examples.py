"""The examples say what they are said to say; all of them with ``DIPTYCH_ALL_EXAMPLES=1``."""

import json
import os
from pathlib import Path

import pytest

import diptych

FOLDER = Path(__file__).parents[2] / "examples" / "audit"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
BY_DEFAULT = ("models: torch and tensorflow", "tensorflow-33898", "tensorflow-46782")


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_has_the_cause_that_it_is_about(name: str) -> None:
    if name not in BY_DEFAULT and not os.environ.get("DIPTYCH_ALL_EXAMPLES"):
        pytest.skip("DIPTYCH_ALL_EXAMPLES=1 runs them all")
    example = EXPECTED[name]
    found = diptych.audit(str(FOLDER / example["a"]), str(FOLDER / example["b"]))
    codes = {finding.code for finding in found.findings}
    assert codes == ({example["code"]} if example["code"] else set())
