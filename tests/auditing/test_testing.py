"""`assert_same_training`, as tests call it, and the plugin that shows its findings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import torch
from torch import nn

import diptych
from diptych import InputError
from diptych.auditing import schema
from diptych.testing import TrainingDiffers, assert_same_training

PLUGIN = ("-p", "diptych.pytest_plugin")
"""The plugin as a module, whether or not this package is installed with its entry point."""
SOURCE = """
import torch
from torch import nn

def model(rate=0.1, momentum=0.9):
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum)
    return network, nn.CrossEntropyLoss(), optimizer
"""
TEST = """
from sides import model
from diptych.testing import assert_same_training

def test_the_port():
    assert_same_training(model, lambda: model(momentum=0.5), only=["update"])
"""


def model(momentum: float = 0.9, spread: float = 1.0) -> tuple[Any, ...]:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        next(network[1].parameters()).mul_(spread)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum)
    return network, nn.CrossEntropyLoss(), optimizer


def other_momentum() -> tuple[Any, ...]:
    return model(momentum=0.5)


def test_a_function_of_a_file_against_a_live_object() -> None:
    live = model()
    before = {name: value.clone() for name, value in live[0].state_dict().items()}
    result = assert_same_training(model, live, timeout=300)
    assert {s.name for s in result.stages if s.ok} >= {"forward", "loss", "update", "trajectory"}
    assert result.a.endswith("test_testing.py:model")
    initial = next(stage for stage in result.stages if stage.name == "initial weights")
    assert initial.ok is None and "it is an object and cannot be built again" in initial.note
    assert not live[2].state and all(
        torch.equal(before[name], value) for name, value in live[0].state_dict().items()
    )
    problems = jsonschema_rs.validator_for(schema.schema()).iter_errors(result.to_dict())
    assert not list(problems)


def test_what_differs_is_in_the_message() -> None:
    with pytest.raises(TrainingDiffers, match=r"1\. momentum \(update\)") as failure:
        assert_same_training(model, other_momentum, only=["update"], timeout=300)
    result = failure.value.audit
    assert [finding.code for finding in result.findings] == ["momentum"]
    assert [stage.name for stage in result.stages] == ["update"]


def test_an_accepted_finding_is_listed_and_nothing_else_is_hidden() -> None:
    result = assert_same_training(
        model, lambda: model(spread=3.0), accept=["kernel-initialiser"], timeout=300
    )
    assert [finding.code for finding in result.accepted] == ["kernel-initialiser"]
    assert result.conclusion.startswith(
        "No difference found apart from accepted causes (kernel-initialiser): "
    )
    assert {stage.name: stage.ok for stage in result.stages}["trajectory"]
    with pytest.raises(TrainingDiffers) as failure:
        assert_same_training(
            lambda: model(),
            lambda: model(momentum=0.5, spread=3.0),
            accept=["kernel-initialiser"],
        )
    assert [finding.code for finding in failure.value.audit.findings] == ["momentum"]


def test_a_stage_that_is_asked_for_must_be_comparable() -> None:
    with pytest.raises(TrainingDiffers, match="Not compared, though asked for: batches"):
        assert_same_training(lambda: model(), lambda: model(), only=["batches"])


def test_weights_that_do_not_fit_are_no_tick_of_the_outputs() -> None:
    def wider() -> tuple[Any, ...]:
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Linear(20, 10))
        optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9)
        return network, nn.CrossEntropyLoss(), optimizer

    with pytest.raises(TrainingDiffers, match="Not compared, though asked for: forward"):
        assert_same_training(lambda: model(), wider, only=["forward"])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"accept": ["kernel-initializer"]}, "no such cause .did you mean kernel-initialiser?"),
        ({"only": ["foward"]}, "no such stage .did you mean forward?"),
    ],
)
def test_unknown_names(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assert_same_training("numpy:article", "numpy:article", **choice)


def test_objects_that_a_copy_would_leave_are_refused() -> None:
    network, loss, optimizer = model()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    with pytest.raises(InputError, match="scheduler drives the SGD, and is not handed in"):
        diptych.audit((network, loss, optimizer), model)
    assert scheduler
    network, loss, optimizer = model()

    def penalised(outputs: Any, targets: Any) -> Any:
        return loss(outputs, targets) + sum(p.square().sum() for p in network.parameters())

    with pytest.raises(InputError, match="penalised holds on to the model or the optimizer"):
        diptych.audit((network, penalised, optimizer), model)


def pytest_run(folder: Path, *options: str, **environment: str) -> str:
    """What pytest prints on the tests of a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        timeout=300,
    )
    return done.stdout


def test_the_plugin_prints_the_findings_and_annotates_github(tmp_path: Path) -> None:
    (tmp_path / "sides.py").write_text(SOURCE)
    (tmp_path / "test_port.py").write_text(TEST)
    printed = pytest_run(tmp_path, GITHUB_ACTIONS="true")
    assert "test_port.py:6: They differ, above all in update: momentum." in printed
    assert "   Fix: " in printed and "1 failed" in printed
    assert "assert_same_training(model" not in printed  # No traceback.
    (line,) = [line for line in printed.splitlines() if line.startswith("::error")]
    assert line.startswith("::error file=sides.py,line=5,title=momentum (update)::momentum (update")
    assert "::error" not in pytest_run(tmp_path, "--collect-only", GITHUB_ACTIONS="true")


def test_the_plugin_imports_no_framework(tmp_path: Path) -> None:
    names = ("tensorflow", "keras", "torch", "jax", "numpy", "pydantic", "diptych.auditing")
    (tmp_path / "test_imports.py").write_text(
        "import sys, diptych.testing\n\n"
        f"def test_imports():\n    assert not [n for n in {names} if n in sys.modules]\n"
    )
    assert "1 passed" in pytest_run(tmp_path)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = Path(__file__).parents[2] / "docs" / "schemas" / "audit.json"
    assert json.loads(published.read_text()) == schema.schema()
