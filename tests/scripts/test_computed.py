"""Every script computes what the NumPy reference computes: logits, loss, gradients, Adam's steps.

In float64 on both sides, in a process that cannot import Diptych. `diptych audit` holds the scripts
of TensorFlow, Keras and PyTorch to the workflows as well; see `test_audited.py`.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import NETWORKS, SMALL, lively_weights, network_named

from diptych.data import Data
from diptych.data.batches import to_float
from diptych.layers import Flatten
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.scripts.script import FORMS, write
from diptych.workflows.numpy.workflow import Workflow

COMPUTING = Path(__file__).with_name("computing.py")
RECIPE = Recipe(learning_rate=0.01, beta_2=0.99, epsilon=1e-3)
"""With an epsilon that is large enough to be seen, wherever it is added."""
STEPS = 3
IMAGES = 6
BOUND = 1e-8
"""TensorFlow keeps a leaky relu's slope in float32, with an error of up to 6e-8 times the slope."""
STEPS_BOUND = 5e-7
"""Where a gradient is about as small as epsilon, Adam makes much of its rounding."""
SMALL_NAMES = (*SMALL, "strided")
ZOO = tuple(name for name in NETWORKS if name not in SMALL)


def network(name: str) -> Network:
    if name != "strided":
        return network_named(name)
    layers = [
        {"kind": "conv", "filters": 3, "kernel": 4, "stride": 3, "padding": "same"},
        {"kind": "average_pool", "size": 2, "stride": 1, "padding": "same"},
        {"kind": "max_pool", "size": 3, "stride": 2, "padding": "same"},
        {"kind": "conv", "filters": 4, "kernel": [3, 2], "padding": "same", "name": "train"},
        {"kind": "average_pool", "size": 3, "stride": 2, "padding": "same"},
        {"kind": "flatten"},
        {"kind": "flatten"},
        {"kind": "dense", "units": 10, "name": "class_"},
    ]
    return Network.from_dict({"name": name, "input_shape": [28, 28, 1], "layers": layers})


def flat_shapes(described: Network) -> dict[str, np.ndarray]:
    shapes, flat = {}, None
    for layer, before, _ in described.steps():
        if isinstance(layer, Flatten) and len(before) == 3:
            flat = before
        elif layer.kind == "dense" and flat:
            shapes[f"flat/{layer.name}"], flat = np.array(flat), None
        elif layer.kind == "batch_norm" and flat:
            raise AssertionError("its weights would have to be put into PyTorch's order too")
    return shapes


Answers = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def answers(
    mnist: Data, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, tuple[str, ...]], Answers]:
    """A form's answer for each of the networks, all of them from one process."""
    images = to_float(mnist.test.images[:IMAGES]).astype(np.float64)
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    environment.pop("TF_DETERMINISTIC_OPS", None)  # With it, no random numbers without a seed.

    @cache
    def of_form(form: str, names: tuple[str, ...]) -> Answers:
        folder = tmp_path_factory.mktemp("scripts")
        for name in names:
            described = network(name)
            (folder / f"{name}.py").write_text(write(form, described, RECIPE), encoding="utf-8")
            given: dict[str, Any] = {"x": images, "y": mnist.test.labels[:IMAGES]}
            given |= flat_shapes(described)
            given |= {n: w.astype(np.float64) for n, w in lively_weights(described).items()}
            np.savez(folder / f"{name}.npz", **given)
        done = subprocess.run(
            [sys.executable, COMPUTING, form, folder],
            capture_output=True,
            text=True,
            env=environment,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return {name: dict(np.load(folder / f"{name}.answer.npz")) for name in names}

    return of_form


@pytest.fixture(scope="module")
def reference_of(mnist: Data) -> Callable[[str], dict[str, np.ndarray]]:
    """The reference's answer for a network, computed once for all forms."""
    images, labels = mnist.test.images[:IMAGES], mnist.test.labels[:IMAGES]

    @cache
    def of_network(name: str) -> dict[str, np.ndarray]:
        described = network(name)
        reference = Workflow(described, RECIPE, seed=0)
        reference.load(lively_weights(described))
        loss, gradients, _ = reference.backward(images, labels)
        answer = {"logits": reference.logits_in_float64(images), "loss": np.array(loss)}
        answer |= {f"gradient/{n}": gradient for n, gradient in gradients.items()}
        for _ in range(STEPS):
            reference.train_step(images, labels, RECIPE.learning_rate)
        return answer | {f"after/{n}": value for n, value in reference.values.items()}

    return of_network


@pytest.mark.parametrize(
    "name", [*SMALL_NAMES, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ZOO)]
)
@pytest.mark.parametrize("form", FORMS)
def test_a_script_computes_what_the_reference_computes(
    form: str,
    name: str,
    answers: Callable[[str, tuple[str, ...]], Answers],
    reference_of: Callable[[str], dict[str, np.ndarray]],
) -> None:
    names = ZOO if name in ZOO else SMALL_NAMES
    answer, reference = answers(form, names)[name], reference_of(name)
    missing = {key.split("/")[-1] for key in reference.keys() - answer.keys()}
    assert missing <= ({"moving_variance"} if form == "torch" else set())
    for key, value in answer.items():
        bound = STEPS_BOUND if key.startswith("after/") else BOUND
        bound *= max(1.0, float(np.abs(reference[key]).max()))
        np.testing.assert_allclose(value, reference[key], rtol=0, atol=bound, err_msg=key)
