"""Snapshots of trainings: when they are taken, and that they are the weights of that step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diptych import training
from diptych.errors import InputError
from diptych.network import Weights
from diptych.runs import Run
from diptych.snapshots import Snapshots, keep_snapshots, read_snapshot, snapshot_steps
from diptych.workflows import registry

WORKFLOWS = [
    name for name in ("tensorflow", "keras", "keras@jax", "torch", "jax") if name in registry.NAMES
]
HALF = 2.0**-10
"""Twice the rounding of float16, as a share of the value."""


def trained(run: Run) -> Run:
    keep_snapshots(run)
    return training.carry_out(run, lambda _: None)


def assert_same(weights: Weights, expected: Weights, more: float = 0.0) -> None:
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        bound = HALF * np.abs(expected[name]) + 1e-7 + more
        assert (np.abs(value - expected[name]) <= bound).all(), name


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, few_digits, small, quick) -> Run:
    """The reference in NumPy: one epoch of eleven steps, without dropout."""
    recipe = quick.with_changes(epochs=1, dropout_scale=0)
    root = tmp_path_factory.mktemp("snapshots")
    return trained(training.create("numpy", small, recipe, str(few_digits), 0, runs=root))


def test_steps_are_spaced_evenly_on_a_log_scale(reference: Run) -> None:
    assert snapshot_steps(reference) == [0, 1, 3, 9]
    initial = registry.load("numpy")(reference.network, reference.recipe, 0).weights()
    assert_same(read_snapshot(reference, 0), initial)
    with pytest.raises(InputError, match=r"^run [^\n]*no snapshot after step 5; there are 0, 1, 3"):
        read_snapshot(reference, 5)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_workflow_takes_those_of_the_reference(
    workflow: str, reference: Run, new_run: Callable[..., Run]
) -> None:
    """TensorFlow and JAX take several steps in a call, and snapshots between the calls."""
    try:
        registry.check(workflow)
    except InputError as problem:
        pytest.skip(str(problem))
    run = trained(new_run(workflow, epochs=1, dropout_scale=0))
    steps = snapshot_steps(run)
    assert steps == ([0, 11] if workflow in ("tensorflow", "jax") else [0, 1, 3, 9])
    for step in steps:
        expected = reference.weights() if step == 11 else read_snapshot(reference, step)
        # Adam's first steps are as large where a gradient is nearly nothing as elsewhere.
        assert_same(read_snapshot(run, step), expected, more=1e-3 if step else 0.0)


def test_one_that_was_not_asked_for_is_not_taken(reader: Run) -> None:
    assert snapshot_steps(reader) == []


def test_a_resumed_run_goes_on_where_it_was(new_run: Callable[..., Run]) -> None:
    run = new_run()
    keep_snapshots(run)
    weights = {"output/bias": np.ones(3, np.float32)}
    for steps in (range(0, 31), range(30, 300, 20)):
        snapshots = Snapshots(run, lambda: weights)
        for step in steps:
            snapshots.advanced(step)
    assert snapshot_steps(run) == [0, 1, 3, 9, 27, 90, 270]


def test_the_command(tmp_path: Path, few_digits: Path, small_toml: Path) -> None:
    from support import diptych

    done = diptych(
        "train", "numpy", "--network", small_toml, "--data", few_digits, "--epochs", "1",
        "--batch-size", "30", "--recipe", "plain", "--snapshots", "--runs", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [run] = (Run(path.parent) for path in tmp_path.glob("*/run.json"))
    assert snapshot_steps(run) == [0, 1, 3, 9]
