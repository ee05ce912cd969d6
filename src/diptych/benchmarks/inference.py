"""What reading an image costs: each workflow's `logits`, one call after the other."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from diptych import workflows
from diptych.benchmarks import recipe
from diptych.benchmarks.steps import training_images
from diptych.network import Network
from diptych.worker import Arrays

SECONDS = 2.0
"""How long the clock runs, after two calls that warm up."""


def inference_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: microseconds a sample of reading with untrained weights."""
    network, size = Network.from_dict(parameters["network"]), parameters["batch_size"]
    images, _labels = training_images(network, size)
    read: Callable[[np.ndarray], np.ndarray]
    read = workflows.load(parameters["side"])(network, recipe("float32", 50), 0).logits
    for _warm_up in range(2):
        read(images)
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS or not calls:
        read(images)
        calls += 1
    return {"measured": passed / calls / size * 1e6}, {}
