"""Peers are the networks that their authors describe; trainings are timed without validations."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from diptych.benchmarks import stopwatch
from diptych.benchmarks.stock.peers import PEERS
from diptych.benchmarks.trainings import Timer
from diptych.data import Split
from diptych.data.batches import Batches
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.worker import Worker
from diptych.workflows.progress import Progress

BENCH = Path(__file__).parents[1] / "bench"
IMAGES, LENGTH = 1000, 2


@pytest.mark.parametrize("name", [name for name in PEERS if name != "tinygrad"])
def test_a_peer_learns(name: str) -> None:
    """Two short epochs are far better than chance."""
    pytest.importorskip(PEERS[name].package, reason=f"needs {PEERS[name].package}")
    with Worker() as worker:
        parameters = {"peer": name, "seed": 0, "length": LENGTH, "images": IMAGES}
        answer, _ = worker.call("benchmarks.stock.peers:peer_job", parameters)
    assert answer["images"] == IMAGES
    assert answer["test_accuracy"] > 0.5
    assert answer["seconds"] > 0 and answer["processor_seconds"] > 0


def test_peers_have_the_parameters_that_their_authors_count() -> None:
    """Keras' example prints 34,826; PyTorch's is known to have 1,199,882; the third is computed."""
    keras = pytest.importorskip("keras", reason="needs diptych[tensorflow]")
    torch = pytest.importorskip("torch", reason="needs diptych[torch]")
    assert keras and torch
    convnet, mnist, fast = (
        importlib.import_module(f"diptych.benchmarks.stock.{name}")
        for name in ("keras_mnist_convnet", "torch_mnist", "torch_mnist_fast")
    )
    assert convnet.build().count_params() == 34_826
    assert sum(weights.numel() for weights in mnist.Net().parameters()) == 1_199_882
    expected = 24 * (25 + 1) + 32 * (24 * 9 + 1) + 256 * (800 + 1) + 10 * (256 + 1)
    assert sum(weights.numel() for weights in fast.build().parameters()) == expected


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 2


def test_validation_is_not_timed_and_the_first_call_of_each_graph_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cropped steps of 1 s, whole ones of 2 s, 5 s for the first graph, 7 s for the second."""
    hands = Hands()
    monkeypatch.setattr(stopwatch, "time", hands)
    recipe = Recipe(epochs=2, batch_size=10, crop=0.2, crop_share=0.75)
    split = Split(np.zeros((40, 28, 28, 1), np.uint8), np.zeros(40, np.int64))
    timer, progress = Timer(Batches(split, recipe, 0)), Progress()
    # Epoch 1: four cropped steps in two calls. Epoch 2: two cropped, then two whole ones.
    calls = [[(2, 2 + 5), (4, 2)], [(1, 1), (2, 1), (3, 2 + 7), (4, 2)]]
    for epoch in calls:
        for step, seconds in epoch:
            hands.now += seconds
            progress.step = step
            timer.advanced(progress, None)
        hands.now += 100  # Validation.
        progress.next_epoch()
        progress.finished = progress.epoch == 2
        timer.epoch_ended(progress, None)
    hands.now += 100  # The test images.
    assert timer.clock.seconds == 4 + 5 + 2 + 4 + 7
    assert timer.clock.processor_seconds == timer.clock.seconds / 2
    assert timer.compile_seconds == 5 + 7


@pytest.fixture
def rungs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``bench/rungs.py``, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("rungs", BENCH / "rungs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rungs", module)  # Where dataclasses look for it.
    spec.loader.exec_module(module)
    return module


def test_what_is_in_the_file_is_not_measured_again(rungs: ModuleType, tmp_path: Path) -> None:
    file, calls = tmp_path / "lines.jsonl", []

    def measure() -> dict[str, Any]:
        calls.append(1)
        return {"seconds": len(calls)}

    for _interrupted in range(2):
        kept = rungs.Kept(file, ("side", "seed"))
        assert kept.get({"side": "a", "seed": 0}, measure)["seconds"] == 1
        assert kept.get({"side": "a", "seed": 1}, measure)["seconds"] == 2
    assert len(calls) == len(file.read_text().splitlines()) == 2


def test_rungs_are_of_the_zoo(rungs: ModuleType) -> None:
    """They ascend, and the ladder's networks are those that their recipes are made for."""
    for shelf in (rungs.LADDER, rungs.FEW_PARAMETERS):
        targets = [rung.target for rung in shelf.values()]
        assert targets == sorted(targets)
    for rung in rungs.LADDER.values():
        made_for = Recipe.load(rung.recipe).made_for
        assert made_for and rung.network in made_for.networks


def test_another_recipe_is_another_training(
    rungs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rungs.digest("99.0")
    assert before == rungs.digest("99.0") != rungs.digest("99.3")
    changed = Recipe.load("quick-990").with_changes(shift=2)
    monkeypatch.setattr(rungs.Recipe, "load", lambda name: changed)
    assert rungs.digest("99.0") != before


def test_networks_of_few_parameters_have_as_few_as_they_say(rungs: ModuleType) -> None:
    for rung in rungs.FEW_PARAMETERS.values():
        network = Network.load(rung.network)
        assert network.parameters < int(rung.network.removeprefix("under-"))
        assert f"{network.parameters:,} parameters" in network.description
