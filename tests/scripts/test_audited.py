"""The audit finds no difference between a script and its workflow.

Scripts of Keras, PyTorch and TensorFlow can be audited; `test_computed` holds those of JAX, Flax
and NumPy to the reference. `make test` audits one of a small network, `make test-all` those of all
networks in the zoo.
"""

from pathlib import Path

import pytest

import diptych
from diptych import zoo
from diptych.scripts.script import write

AUDITED = ("keras", "torch", "tensorflow")
"""Not ``tensorflow+layers``: an audit cannot yet trace Keras layers inside a side of one's own."""


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
    assert not_compared == ["batches", "augmentation"]
