"""The examples say what they are said to say; all of them with ``DIPTYCH_ALL_EXAMPLES=1``."""

import json
import os
from pathlib import Path

import pytest

import diptych

FOLDER = Path(__file__).parents[2] / "examples" / "audit"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
BY_DEFAULT = ("pytorch-defaults",)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_has_the_causes_that_it_is_about(name: str) -> None:
    if name not in BY_DEFAULT and not os.environ.get("DIPTYCH_ALL_EXAMPLES"):
        pytest.skip("DIPTYCH_ALL_EXAMPLES=1 runs them all")
    example = EXPECTED[name]
    found = diptych.audit(str(FOLDER / example["a"]), str(FOLDER / example["b"]))
    assert list(dict.fromkeys(finding.code for finding in found.findings)) == example["codes"]
