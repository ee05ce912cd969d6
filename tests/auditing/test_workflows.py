"""Our own workflows are the same; docs/results/audits-of-workflows.md has all pairs on four networks."""

from pathlib import Path

import pytest

import diptych
from diptych.errors import InputError
from diptych.workflows import registry

# Where frameworks differ most: uneven padding, moving averages.
STRIDED = Path(__file__).parents[2] / "examples" / "audit" / "strided.toml"


def test_two_workflows_are_the_same_through_all_stages() -> None:
    try:
        registry.chosen(["torch", "keras@jax"])
    except InputError as problem:
        pytest.skip(str(problem))
    found = diptych.audit(f"torch:{STRIDED}", f"keras@jax:{STRIDED}")
    assert [finding.code for finding in found.findings] == []
    assert [stage.name for stage in found.stages if not stage.ok] == []
    assert found.notes == []  # All of ours have the batch's own variance in the moving ones.
