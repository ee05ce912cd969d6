"""The cost of inference, call after call: a workflow's `logits`, or ONNX Runtime's."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.benchmarks.benchmark import ONNX_RUNTIME, recipe
from diptych.benchmarks.steps import training_images
from diptych.network import Network
from diptych.worker import Arrays
from diptych.workflows import registry

Reads = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, height, width, channels) to float32 (n, classes)."""


def inference_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: microseconds a sample of reading with untrained weights."""
    network, size = Network.from_dict(parameters["network"]), parameters["batch_size"]
    images, _labels = training_images(network, size)
    read = reader(parameters["side"], network)
    for _warm_up in range(2):
        read(images)
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < parameters["seconds"] or not calls:
        read(images)
        calls += 1
    return {"measured": passed / calls / size * 1e6}, {}


def reader(side: str, network: Network) -> Reads:
    """The function that computes a side's logits, with the initial weights of seed 0."""
    if side != ONNX_RUNTIME:
        return registry.load(side)(network, recipe("float32", 50), 0).logits
    from diptych.formats.onnx.prediction import predictor

    return predictor(network, network.initial_weights(0), size=2**31)
