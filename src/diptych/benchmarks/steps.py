"""The cost of a training step, in `diptych train` and in stock code."""

import importlib
import time
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.benchmarks.benchmark import STOCK, recipe
from diptych.data import Split, load_data
from diptych.errors import InputError
from diptych.network import Network
from diptych.worker import Arrays
from diptych.workflows import registry
from diptych.workflows.progress import Progress

WARM_UP = 60
"""Steps before the clock starts: the first ones build graphs."""


class Clock:
    """A monitor that notes when each step ended, and stops after enough of them."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: list[tuple[int, float]] = []

    def advanced(self, progress: Progress, state: object) -> bool:
        self.ends.append((progress.step, time.perf_counter()))
        return progress.step >= self.steps

    def epoch_ended(self, progress: Progress, state: object) -> bool:
        return True

    def seconds_a_step(self) -> float:
        """Of the steps after the warm-up.

        Raises:
            InputError: all steps were one call, as those of JAX on a GPU are.
        """
        first_step, first = next(end for end in self.ends if end[0] >= WARM_UP)
        last_step, last = self.ends[-1]
        if last_step == first_step:
            raise InputError(
                f"the workflow takes all {last_step} steps in one call here, so that none can be "
                "timed: on a GPU, time trainings with bench/accelerator.py"
            )
        return (last - first) / (last_step - first_step)


def training_images(network: Network, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (count, height, width, channels) of the network's shape and their labels.

    Real digits where they fit, over and over if need be; noise where they do not.
    """
    if network.input_shape == (28, 28, 1) and network.classes == 10:
        digits = load_data("mnist").train
        at = np.arange(count) % len(digits)
        return digits.images[at], digits.labels[at]
    random = np.random.Generator(np.random.Philox(0))
    images = random.integers(0, 256, (count, *network.input_shape), np.uint8)
    return images, random.integers(0, network.classes, count)


def step_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: microseconds a sample of one training."""
    side, batch_size, steps = (parameters[key] for key in ("side", "batch_size", "steps"))
    network = Network.from_dict(parameters["network"])
    images, labels = training_images(network, (WARM_UP + steps) * batch_size)
    if side.startswith(STOCK):
        way = importlib.import_module(f"diptych.benchmarks.stock.{side.removeprefix(STOCK)}")
        seconds = way.seconds_a_step(images, labels, batch_size, WARM_UP)
    else:
        data = load_data("mnist")
        one = Split(images[:1], labels[:1])
        data = replace(data, train=Split(images, labels), validation=one, test=one)
        chosen = recipe(parameters["precision"], batch_size)
        built = registry.load(side)(
            network.with_dropout_scaled(chosen.dropout_scale), chosen, seed=0
        )
        clock = Clock(WARM_UP + steps)
        built.fit(data, clock, Progress())
        seconds = clock.seconds_a_step()
    return {"measured": seconds / batch_size * 1e6}, {}
