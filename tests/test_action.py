"""The GitHub Action: its steps' commands, run as the runner runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))
SIDE = """
import torch
from torch import nn


def build():
    network = nn.Sequential(nn.Linear(4, 8), nn.{activation}(), nn.Linear(8, 3))
    return network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), 0.1)
"""


def run_audit(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the step that audits, with these inputs and the defaults of the others."""
    values = {name: about.get("default", "") for name, about in ACTION["inputs"].items()} | inputs
    _, step = ACTION["runs"]["steps"]
    environment = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)
        for name, text in step["env"].items()
    }
    command = folder / "bin" / "diptych"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m diptych.cli "$@"\n')
    command.chmod(0o755)
    environment["PATH"] = f"{command.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],  # as GitHub does
        cwd=folder,
        env=os.environ | environment | {"GITHUB_ACTIONS": "true"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    (tmp_path / "old.py").write_text(SIDE.format(activation="ReLU"))
    (tmp_path / "new.py").write_text(SIDE.format(activation="Tanh"))
    return tmp_path


def test_a_difference_fails_and_is_annotated(sides: Path) -> None:
    done = run_audit(sides, a="old.py:build", b="new.py:build", only="structure", timeout="600")
    assert done.returncode == 1, done.stderr
    annotations = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert any("title=activation (structure)" in line for line in annotations), done.stdout


def test_what_is_accepted_passes(sides: Path) -> None:
    """Two causes and two stages, with spaces around them and in a stage's name."""
    done = run_audit(
        sides,
        a="old.py:build",
        b="new.py:build",
        accept="activation, epsilon",
        only="structure, initial weights",
        timeout="600",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "initial weights" in done.stdout
    assert "::error" not in done.stdout


def test_a_wrong_input_is_told(sides: Path) -> None:
    done = run_audit(sides, a="old.py:build", b="new.py:build", only="structures")
    assert done.returncode == 2
    assert "structures" in done.stderr


def test_the_package_is_installed_from_the_action_s_folder() -> None:
    install, _ = ACTION["runs"]["steps"]
    assert install["run"] == 'python -m pip install --quiet "$GITHUB_ACTION_PATH"'
    assert (PROJECT / "pyproject.toml").exists()
    assert {"a", "b"} == {n for n, about in ACTION["inputs"].items() if about.get("required")}
