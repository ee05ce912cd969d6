"""What more than one folder of tests needs."""

import fnmatch
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from diptych import training
from diptych.data import Data, load_data
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.whole_files import write_json
from support import write_digits

# A shell that starts tests in the background has them, and all that they start, ignore Ctrl-C.
for each, ours in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, ours)

# Machines that test are shared: how long an example takes says nothing.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

LONGEST = (
    "auditing/test_workflows.py",
    "auditing/test_planted.py",
    "auditing/test_examples.py",
    "auditing/test_arithmetic.py::test_two_runs_in_bfloat16_are_the_same",
    "auditing/test_reference.py::test_an_audit_of_two_pytorch_builds",
    "auditing/test_keras_twin.py::test_twins_on_all_backends",
    "auditing/test_keras_backends.py",
    "scripts/test_audited.py",
    "scripts/test_computed.py",
    "test_resume.py::test_frameworks_killed",
    "test_cli.py::test_a_comparison",
    "serving/test_openapi.py",
)
"""Tests that take longest alone. They start first, so that none is left for the end."""

EXHAUSTIVE = tuple(
    line
    for line in (Path(__file__).parent / "exhaustive.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
"""The names of tests that are marked ``exhaustive`` from outside, as that file says."""


@pytest.hookimpl(tryfirst=True)  # Before marks choose.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    patterns = [fnmatch.translate("tests/" + name.replace("[", "[[]")) for name in EXHAUSTIVE]
    listed = re.compile("|".join(patterns))

    def place(item: pytest.Item) -> int:
        starts = (f"tests/{start}" for start in LONGEST)
        return next((n for n, start in enumerate(starts) if item.nodeid.startswith(start)), 99)

    for item in items:
        if listed.match(item.nodeid):
            item.add_marker(pytest.mark.exhaustive)
    items.sort(key=place)


NETWORK = """
description = "Small enough for NumPy: 490 parameters"
input_shape = [28, 28, 1]
layers = [
  { kind = "conv", filters = 4, kernel = 3, stride = 2, padding = "same", activation = "relu" },
  { kind = "max_pool", size = 4 },
  { kind = "dropout", rate = 0.25 },
  { kind = "flatten" },
  { kind = "dense", units = 10 },
]
"""


@pytest.fixture(scope="session")
def mnist() -> Data:
    return load_data("mnist")


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory: pytest.TempPathFactory, mnist: Data) -> Path:
    """A data folder of real digits: 330 to train with, 30 to validate, 200 to test."""
    return write_digits(mnist, tmp_path_factory.mktemp("data") / "few", 360, 200)


@pytest.fixture(scope="session")
def small_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network's file."""
    path = tmp_path_factory.mktemp("network") / "small.toml"
    path.write_text(NETWORK)
    return path


@pytest.fixture(scope="session")
def small(small_toml: Path) -> Network:
    return Network.load(small_toml)


@pytest.fixture(scope="session")
def quick() -> Recipe:
    """Two epochs of eleven steps each with the few digits."""
    return Recipe(name="quick", epochs=2, batch_size=30, learning_rate=0.01)


@pytest.fixture
def new_run(tmp_path: Path, few_digits: Path, small: Network, quick: Recipe) -> Callable[..., Run]:
    """Makes runs that nobody has trained yet, with other values for the recipe where given."""

    def make(workflow: str = "numpy", seed: int = 0, every: int | None = None, **values) -> Run:
        recipe = quick.with_changes(**values)
        data = str(few_digits)
        return training.create(
            workflow, small, recipe, data, seed, runs=tmp_path / "runs", checkpoint_every=every
        )

    return make


@pytest.fixture(scope="session")
def tensorflow_reader(tmp_path_factory: pytest.TempPathFactory, mnist: Data) -> Run:
    """A run that reads most digits: two epochs of 5,500 real ones, in low-level TensorFlow."""
    folder = tmp_path_factory.mktemp("reader")
    data = write_digits(mnist, folder / "mnist", 6000, 1000)
    network = Network.from_dict(
        {
            "name": "reader",
            "input_shape": [28, 28, 1],
            "layers": [
                {"kind": "conv", "filters": 16, "kernel": 5, "stride": 2, "padding": "same"}
                | {"activation": "relu"},
                {"kind": "max_pool", "size": 2},
                {"kind": "flatten"},
                {"kind": "dense", "units": 64, "activation": "relu"},
                {"kind": "dense", "units": 10},
            ],
        }
    )
    recipe = Recipe(name="two", epochs=2, batch_size=50, learning_rate=0.004, schedule="one-cycle")
    return training.train("tensorflow", network, recipe, str(data), runs=folder / "runs")


@pytest.fixture(scope="session")
def reader(tensorflow_reader: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, its weights in the hands of NumPy, which starts sooner."""
    folder = tmp_path_factory.mktemp("reader") / "numpy"
    run = Run(Path(shutil.copytree(tensorflow_reader.folder, folder)))
    write_json(folder / "run.json", run.description() | {"workflow": "numpy"})
    return run


@pytest.fixture(scope="session")
def pair(
    tmp_path_factory: pytest.TempPathFactory, few_digits: Path, small: Network, quick: Recipe
) -> dict[str, Run]:
    """A finished run in each of two workflows: the same network, recipe, data and seed."""
    runs = tmp_path_factory.mktemp("pair")
    return {
        name: training.train(name, small, quick, str(few_digits), runs=runs)
        for name in ("tensorflow", "numpy")
    }


LABELS = np.arange(200) % 10
"""Those of the test images of the runs that `made` makes."""


@pytest.fixture
def made(tmp_path: Path, pair: dict[str, Run]):
    """Makes finished runs whose predictions are given: for each, the test images that it
    misclassifies, and what its ``run.json`` says otherwise."""
    count = 0

    def make(
        workflow: str, wrong: Sequence[int], seed: int = 0, seconds: float = 10.0, **others: Any
    ) -> Run:
        nonlocal count
        count += 1
        folder = tmp_path / "made" / f"{workflow}-{seed}-{count}"
        about = {"workflow": workflow, "seed": seed} | others
        run = Run(Path(shutil.copytree(pair["numpy"].folder, folder)))
        write_json(folder / "run.json", run.description() | about)
        read = LABELS.copy()
        read[list(wrong)] = (read[list(wrong)] + 1) % 10
        run.save_predictions(np.eye(10, dtype=np.float32)[read], LABELS)
        correct = int((read == LABELS).sum())
        measured = {"test_correct": correct, "test_accuracy": correct / 200}
        run.save_result((run.result() or {}) | measured | {"train_seconds": seconds})
        return run

    return make
