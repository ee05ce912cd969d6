"""Our own workflows are the same.

`docs/results/audits-of-workflows.md` has all pairs on four networks.
"""

from pathlib import Path

import pytest

import diptych
from diptych.errors import InputError
from diptych.workflows import registry

# Where frameworks differ most: uneven padding, moving averages.
STRIDED = Path(__file__).parents[2] / "examples" / "audit" / "strided.toml"


SMALL = """
input_shape = [28, 28, 1]
layers = [
  { kind = "conv", filters = 4, kernel = 5, stride = 4, padding = "same" },
  { kind = "batch_norm", momentum = 0.9 },
  { kind = "activation", activation = "relu" },
  { kind = "average_pool", size = 3, stride = 2, padding = "same" },
  { kind = "dropout", rate = 0.25 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
"""


def test_two_workflows_are_the_same_through_all_stages(tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text(SMALL)
    check_workflows("torch", "keras@jax", small)


@pytest.mark.exhaustive
def test_two_workflows_are_the_same_on_a_larger_network() -> None:
    check_workflows("torch", "keras@jax", STRIDED)


def check_workflows(one: str, other: str, network: Path) -> None:
    try:
        registry.chosen([one, other])
    except InputError as problem:
        pytest.skip(str(problem))
    found = diptych.audit(f"{one}:{network}", f"{other}:{network}")
    assert [finding.code for finding in found.findings] == []
    assert [stage.name for stage in found.stages if not stage.ok] == []
    assert found.notes == []  # All of ours have the batch's own variance in the moving ones.
