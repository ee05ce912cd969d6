"""Every script trains on real digits in a process that cannot import Diptych."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.data import Data, load_data
from diptych.data.saving import save_idx_folder
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.scripts.script import FORMS, write

PROGRAM = (
    "import runpy, sys; sys.modules['diptych'] = None; del sys.argv[0]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
NUMBER = r"\d+\.\d{4}"
LAST_BATCH = (
    rf"Epoch \d \| Last Batch Train Loss: {NUMBER} \| Last Batch Train Accuracy: {NUMBER} \| "
    rf"Validation Loss: {NUMBER} \| Validation Accuracy: {NUMBER}"
)
MEAN = LAST_BATCH.replace("Last Batch ", "")
"""Of Keras, whose `fit` knows the epoch's means."""
TEST = rf"Final accuracy on test set: ({NUMBER})"


LEARNS = Network.from_dict(
    {
        "name": "learns",
        "input_shape": [28, 28, 1],
        "layers": [
            {"kind": "conv", "filters": 8, "kernel": 3, "stride": 2, "padding": "same"}
            | {"activation": "relu"},
            {"kind": "max_pool", "size": 2},
            {"kind": "flatten"},
            {"kind": "dropout", "rate": 0.1},
            {"kind": "dense", "units": 10},
        ],
    }
)
"""Enough from 330 digits in 100 steps to be far above chance."""


@pytest.fixture(scope="module")
def digits_folder(tmp_path_factory: pytest.TempPathFactory, few_digits: Path) -> Path:
    """360 and 200 real digits, as `diptych data save` writes them."""
    folder = tmp_path_factory.mktemp("digits")
    save_idx_folder(load_data(few_digits), folder)
    return folder


def run(script: Path, *arguments: str) -> list[str]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("form", FORMS)
def test_a_script_trains_and_tests(form: str, digits_folder: Path, tmp_path: Path) -> None:
    """With a schedule, shifted images, and Keras' averages and early stopping."""
    recipe = Recipe(
        name="brisk",
        epochs=6,
        batch_size=20,
        learning_rate=0.01,
        schedule="one-cycle",
        shift=1,
        averaging=0.5,
        early_stopping=4,
    )
    script = tmp_path / "script.py"
    script.write_text(write(form, LEARNS, recipe, str(digits_folder)), encoding="utf-8")
    *epochs, last = run(script)
    line = MEAN if form == "keras" else LAST_BATCH
    assert len(epochs) == 6
    for epoch in epochs:
        assert re.fullmatch(line, epoch), epoch
    accuracy = re.fullmatch(TEST, last)
    assert accuracy and float(accuracy[1]) > 0.4, last


def test_another_folder_can_be_given(
    small: Network, digits_folder: Path, tmp_path: Path, mnist: Data
) -> None:
    """To the script for MNIST, which takes the first 5,000 images of those for validation."""
    script = tmp_path / "script.py"
    script.write_text(write("numpy", small, Recipe(epochs=1, batch_size=5000)), encoding="utf-8")
    folder = tmp_path / "mnist"
    save_idx_folder(mnist, folder)
    epoch, last = run(script, str(folder))
    assert re.fullmatch(LAST_BATCH, epoch)
    assert re.fullmatch(TEST, last)
