"""The audit finds no difference between a script and its workflow.

`make test` audits one of a small network, `make test-all` those of all networks in the zoo.
`test_computed` holds what no audit takes to the reference: NumPy.
"""

from pathlib import Path

import pytest

import diptych
from diptych import zoo
from diptych.scripts.script import write

AUDITED = ("keras", "torch", "tensorflow", "jax", "flax")
"""Not ``tensorflow+layers``: an audit cannot yet trace Keras layers inside a side of one's own."""
WITHOUT_RATES = ("tensorflow", "jax", "flax")
"""Steps that compute their rate in code of their own, and optax, which does not say it. The update
and the trajectory compare it."""


def test_no_difference_in_a_small_network(small_toml: Path, tmp_path: Path) -> None:
    check_script("torch", str(small_toml), tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("network", zoo.names("networks"))
@pytest.mark.parametrize("form", AUDITED)
def test_no_difference(form: str, network: str, tmp_path: Path) -> None:
    check_script(form, network, tmp_path)


def check_script(form: str, network: str, tmp_path: Path) -> None:
    """Audits a network's script and its workflow."""
    script = tmp_path / "script.py"
    script.write_text(write(form, network), encoding="utf-8")
    audit = diptych.audit(f"{script}:build", f"keras:{network}", 300)
    assert audit.same, audit.findings
    not_compared = [stage.name for stage in audit.stages if stage.ok is None]
    schedule = ["schedule"] if form in WITHOUT_RATES else []
    assert not_compared == [*schedule, "batches", "augmentation"]
