"""The audit finds no difference between a script and its workflow.

Scripts of Keras, PyTorch and TensorFlow can be audited; `test_computed` holds those of JAX, Flax
and NumPy to the reference. Two pairs by default, all of them with ``DIPTYCH_ALL_SCRIPTS=1``.
"""

import os
from pathlib import Path

import pytest

import diptych
from diptych import zoo
from diptych.scripts.script import write

AUDITED = ("keras", "torch", "tensorflow")
"""Not ``tensorflow+layers``: an audit cannot yet trace Keras layers inside a side of one's own."""
BY_DEFAULT = {("torch", "leaky")}


@pytest.mark.parametrize("network", zoo.names("networks"))
@pytest.mark.parametrize("form", AUDITED)
def test_no_difference(form: str, network: str, tmp_path: Path) -> None:
    if (form, network) not in BY_DEFAULT and not os.environ.get("DIPTYCH_ALL_SCRIPTS"):
        pytest.skip("DIPTYCH_ALL_SCRIPTS=1 audits them all")
    script = tmp_path / "script.py"
    script.write_text(write(form, network), encoding="utf-8")
    audit = diptych.audit(f"{script}:build", f"keras:{network}", 300)
    assert audit.same, audit.findings
    not_compared = [stage.name for stage in audit.stages if stage.ok is None]
    assert not_compared == ["batches", "augmentation"]
