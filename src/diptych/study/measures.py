"""The measures of a study for a finished run."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from diptych.data import load_data
from diptych.errors import InputError
from diptych.evaluation import predict
from diptych.randomness import generator
from diptych.runs import Run

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""An image, float64 (height, width, channels), and random numbers, to another one of that shape."""
PIXELS, DEGREES, SCALES = 4, 25.0, (0.6, 1.0)
"""The ranges in which test images are shifted, rotated and scaled."""


def _moved(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return ndimage.shift(image, (*chance.integers(-PIXELS, PIXELS + 1, 2), 0), order=1)


def _turned(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    angle = chance.uniform(-DEGREES, DEGREES)
    return ndimage.rotate(image, angle, reshape=False, order=1)


def _scaled(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    scale = chance.uniform(*SCALES)
    middle = (np.array(image.shape[:2]) - 1) / 2
    offset: Any = (*(middle - middle / scale), 0)
    return ndimage.affine_transform(image, (1 / scale, 1 / scale, 1), offset, order=1)


def _result(key: str) -> Callable[[Run], float]:
    return lambda run: float((run.result() or {})[key])


def _accuracy_on(transform: Transform) -> Callable[[Run], float]:
    """The accuracy on test images that are changed, each by the same for every run."""

    def measure(run: Run) -> float:
        test = load_data(run.description()["data"]["source"]).test
        chance = generator(0, "study/test images")
        changed = [transform(image.astype(np.float64), chance) for image in test.images]
        images = np.clip(np.rint(np.stack(changed)), 0, 255).astype(np.uint8)
        return float(np.mean(predict(run, images).argmax(axis=1) == test.labels))

    return measure


def _best_epoch(run: Run) -> float:
    """The epoch, counted from 1, with the smallest validation loss."""
    losses = [epoch["validation_loss"] for epoch in run.metrics()]
    return 1.0 + int(np.argmin(losses))


def _rise(run: Run) -> float:
    """By how much the validation loss has risen from its smallest to the last epoch's."""
    losses = [epoch["validation_loss"] for epoch in run.metrics()]
    return losses[-1] - min(losses)


def _last_validation(run: Run) -> float:
    return float(run.metrics()[-1]["validation_loss"])


MEASURES: dict[str, Callable[[Run], float]] = {
    "test_accuracy": _result("test_accuracy"),
    "validation_accuracy": _result("validation_accuracy"),
    "validation_loss": _last_validation,
    "overfitting": _rise,
    "best_epoch": _best_epoch,
    "accuracy_moved": _accuracy_on(_moved),
    "accuracy_turned": _accuracy_on(_turned),
    "accuracy_scaled": _accuracy_on(_scaled),
}
"""By name, each measure of a finished run."""


def measured(run: Run, measure: str) -> float:
    """One measure of a run.

    Raises:
        InputError: the run has not ended.
    """
    if run.status != "done":
        raise InputError(f"run {run.folder}: it has not ended, so there is nothing to measure")
    return MEASURES[measure](run)
