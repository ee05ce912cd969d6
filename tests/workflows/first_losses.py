"""The article's first twenty losses, and how far rounding in float32 may take each of them.

On the network `article` without dropout, by its own recipe. The reference takes three minutes for
these steps with all their Monte Carlo runs, so what it found is kept in `first_losses.json`. To
find it anew: ``python tests/workflows/first_losses.py``.

The bounds grow from 5e-5 to 0.1 on the way. Adam divides a gradient by its own size, so where a
gradient is nearly zero a rounding decides which way a weight goes, by as much as any other weight.
"""

import json
from pathlib import Path

import numpy as np
import rounding
from networks import network_named

from diptych.data import Data, load_data
from diptych.data.batches import Batches
from diptych.recipe import Recipe

FILE = Path(__file__).with_suffix(".json")
STEPS, RUNS = 20, 8
NETWORK, RECIPE = network_named("article"), Recipe.load("article")


def batches(mnist: Data) -> list[tuple[np.ndarray, np.ndarray]]:
    """The batches of 50 real images that a run with seed 0 begins with."""
    every = Batches(mnist.train, RECIPE, seed=0)
    return [every.batch(0, step) for step in range(STEPS)]


def losses_and_bounds() -> list[tuple[float, float]]:
    """For each step, the exact loss and how far from it float32 may be."""
    return json.loads(FILE.read_text())


def compute(some: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[float, float]]:
    """The same for the first batches, or for all, from the reference itself."""
    weights = NETWORK.initial_weights(0)
    bounds = rounding.training_bounds(NETWORK, RECIPE, weights, some, RUNS)
    return [(float(exact), float(bound)) for exact, bound in (step["loss"] for step in bounds)]


def first(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """What `compute` finds for the first batch, without the step that follows: a third of it."""
    sizes: dict[str, list[rounding.Error]] = {}

    def loss(chance: np.random.Generator | None) -> dict[str, np.ndarray]:
        workflow = rounding.Rounded(NETWORK, RECIPE, sizes, chance)
        workflow.load(NETWORK.initial_weights(0))
        workflow.noise(np.zeros(1))  # As a step begins, with its rate.
        passed, _ = workflow.run(images, training=True)
        return {"loss": np.array(workflow.loss(passed[-1], labels)[0])}

    exact, bound = rounding.bounded(loss(None), list(map(loss, rounding.chances(RUNS))))["loss"]
    return float(exact), float(bound)


if __name__ == "__main__":
    rows = [json.dumps(pair) for pair in compute(batches(load_data()))]
    FILE.write_text("[\n  " + ",\n  ".join(rows) + "\n]\n")
