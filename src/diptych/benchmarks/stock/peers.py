"""The peers: trainings of MNIST that other projects publish, and how one is measured."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.benchmarks.stopwatch import Stopwatch
from diptych.data import load_data
from diptych.worker import Arrays

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 images (n, 28, 28, 1) to the predicted labels (n,)."""


@dataclass(frozen=True)
class Peer:
    """A training that another project publishes."""

    module: str
    """Below `diptych.benchmarks.stock`."""
    package: str
    """The framework that it needs, by the name that it imports by."""
    length: int
    """How long its authors train."""
    unit: str
    """The unit of the length."""
    validation_images: bool = True
    """True if it trains on all 60,000 images, False if it leaves out the article's 5,000."""
    published: str = ""
    """The accuracy and time that its authors give, with their machine."""


PEERS = {
    "scikit-learn": Peer("sklearn_mlp", "sklearn", 200, "iterations at most"),
    "keras-convnet": Peer(
        "keras_mnist_convnet", "keras", 15, "epochs", published="about 99%; in 2015, 16 s an "
        "epoch on a GRID K520",
    ),
    "pytorch-examples": Peer("torch_mnist", "torch", 14, "epochs"),
    "train-mnist-fast": Peer(
        "torch_mnist_fast", "torch", 1, "epoch", published="99.04% in 0.76 s on a GTX 1660 Ti"
    ),
    "tinygrad": Peer("tinygrad_mnist", "tinygrad", 70, "steps of 512 images"),
    "article-keras": Peer(
        "keras", "keras", 10, "epochs", False, "99.30% (the article's Keras side)"
    ),
    "article-tensorflow": Peer(
        "tensorflow", "tensorflow", 10, "epochs", False, "99.32% (the article's TensorFlow side)"
    ),
}  # fmt: skip
"""By the names that ``bench/peers.py`` knows them by."""


def peer_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: trains a peer and classifies the test images.

    Args:
        parameters: ``peer``, ``seed``, ``length``, and ``images``, to train on the first so many.

    Returns:
        ``seconds`` and ``processor_seconds`` of the training, from its first look at the images
        to its last step; ``test_accuracy``; ``images``, how many it trained on.
    """
    peer, data = PEERS[parameters["peer"]], load_data("mnist")
    images, labels = data.train.images, data.train.labels
    if peer.validation_images:  # They come first in MNIST's own order.
        images = np.concatenate([data.validation.images, images])
        labels = np.concatenate([data.validation.labels, labels])
    if limit := parameters.get("images"):
        images, labels = images[:limit], labels[:limit]
    module = importlib.import_module(f"diptych.benchmarks.stock.{peer.module}")
    clock = Stopwatch()
    predict: Predict = module.trained(
        images, labels, parameters["seed"], parameters["length"], clock
    )
    clock.stop()
    correct = int(np.sum(predict(data.test.images) == data.test.labels))
    return {
        "seconds": clock.seconds,
        "processor_seconds": clock.processor_seconds,
        "test_accuracy": correct / len(data.test.labels),
        "images": len(labels),
    }, {}
