"""Keras on its other backends computes what the reference computes.

On PyTorch, Keras 3.15 averages the edge twice where `same` pads unevenly, which moved the logits of
the network ``geometry`` by 6e-3; float32 explains 1e-6.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import SMALL, lively_weights, small_network
from safetensors.numpy import load_file, save_file

from diptych.data import Data
from diptych.recipe import Recipe
from diptych.worker import ENVIRONMENT
from diptych.workflows.numpy import Workflow as Reference


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_logits_and_gradients_on_another_backend(
    backend: str, digits: Data, tmp_path: Path
) -> None:
    pytest.importorskip(backend, reason=f"pip install 'diptych[{backend}]'")
    images, labels = digits.train.images[:8], digits.train.labels[:8].astype(np.int64)
    save_file({"images": np.ascontiguousarray(images), "labels": labels}, tmp_path / "in")
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("keras_on.py"),
            tmp_path / "in",
            tmp_path / "out",
        ],
        env=os.environ | ENVIRONMENT | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "out")
    for name in SMALL:
        network = small_network(name)
        reference = Reference(network, Recipe(), 0)
        reference.load(lively_weights(network))
        _, right = reference.loss_and_gradients(images, labels)
        right["logits"] = reference.logits(images)
        for key, value in right.items():
            np.testing.assert_allclose(found[f"{name}/{key}"], value, atol=2e-5, err_msg=key)
