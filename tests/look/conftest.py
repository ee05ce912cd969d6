"""Runs that are not trained, since a picture of any weights is a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.activations import layer_outputs
from diptych.data import load_data
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run

# Three colours, neither square nor of MNIST's size, and names that mean something to a drawer.
CLASSES = ("$5 and $6", "[red] <b>&", "a class with a name of many words")


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of colour pictures, 12 high and 20 wide: noise, brighter in one channel."""
    folder, chance = tmp_path_factory.mktemp("look") / "colours", np.random.default_rng(0)
    for channel, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = chance.integers(0, 128, (12, 20, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


LAYERS = {
    "normalised": [
        {"kind": "conv", "filters": 6, "kernel": [3, 5], "padding": "valid"},
        {"kind": "batch_norm"},
        {"kind": "activation", "activation": "leaky_relu", "slope": 0.1},
        {"kind": "average_pool", "size": 2, "padding": "same"},
        {"kind": "conv", "filters": 5, "kernel": 3, "stride": 2, "padding": "same"}
        | {"activation": "gelu", "name": "a_layer_with_a_name_that_does_not_fit_anywhere"},
        {"kind": "dropout", "rate": 0.3},
        {"kind": "flatten"},
        {"kind": "dense", "units": 3},
    ],
    "dense": [
        {"kind": "flatten"},
        {"kind": "dense", "units": 20, "activation": "tanh"},
        {"kind": "dense", "units": 3},
    ],
}


@pytest.fixture(scope="session", params=LAYERS)
def colour_run(
    request: pytest.FixtureRequest, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run that looks finished: its weights are the initial ones, its answers are theirs."""
    return untrained(request.param, colours, tmp_path_factory.mktemp("runs"))


def untrained(name: str, folder: Path, runs: Path) -> Run:
    data = load_data(folder)
    network = Network.from_dict(
        {"name": name, "input_shape": list(data.image_shape), "layers": LAYERS[name]}
    )
    run = Run.create(runs, network, Recipe(), "numpy", data, 0)
    weights = network.initial_weights(1)
    run.save_weights(weights)
    logits = layer_outputs(network, weights, np.asarray(data.test.images))["output"]
    run.save_predictions(logits.astype(np.float32), data.test.labels)
    run.set_status("done")
    return run
