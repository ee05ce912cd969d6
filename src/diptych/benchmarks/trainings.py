"""A whole training, timed: from the first training image to the last step, graphs included."""

import statistics
from typing import Any

import numpy as np

from diptych.benchmarks.stopwatch import Stopwatch
from diptych.data import load_data
from diptych.data.batches import Batches
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.training import with_known_precision
from diptych.worker import Arrays
from diptych.workflows import registry
from diptych.workflows.progress import Progress


class Timer:
    """A monitor that times a training's steps and leaves its validations out."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.clock = batches, Stopwatch()
        self._at, self._before = (0, 0), 0.0
        self._per_step: dict[tuple[Any, ...], list[tuple[int, float]]] = {}
        self.clock.start()

    def advanced(self, progress: Progress, state: object) -> bool:
        self.clock.stop()
        epoch, step = self._at if self._at[0] == progress.epoch else (progress.epoch, 0)
        alike = str(self.batches.window(epoch, step)), self.batches.frozen(epoch, step)
        seconds = self.clock.seconds - self._before
        self._per_step.setdefault(alike, []).append((progress.step - step, seconds))
        self._at, self._before = (epoch, progress.step), self.clock.seconds
        self._stopped_unless_more_follows(progress.step)
        return False

    def _stopped_unless_more_follows(self, step: int) -> None:
        """The clock goes on within an epoch; after its last step comes the validation."""
        if step < self.batches.steps_per_epoch:
            self.clock.start()

    def epoch_ended(self, progress: Progress, state: object) -> bool:
        if not progress.finished:
            self.clock.start()
        return False

    @property
    def compile_seconds(self) -> float:
        """How much longer the first call of each graph took than its later ones.

        A graph belongs to a size of the images and to what is frozen. The first call's steps are
        compared with the median of the later calls' seconds per step.
        """
        total = 0.0
        for (steps, seconds), *later in self._per_step.values():
            if later:
                usual = statistics.median(took / count for count, took in later)
                total += max(0.0, seconds - steps * usual)
        return total


def training_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: trains as `diptych train` does, and nothing is saved.

    Args:
        parameters: ``workflow``, ``network`` and ``recipe`` as plain data, and ``seed``.

    Returns:
        ``seconds`` and ``processor_seconds`` of the training without its validations,
        ``compile_seconds`` of the former, ``validation_loss``, ``validation_accuracy``, and
        ``test_accuracy`` where ``test`` is set.
    """
    network = Network.from_dict(parameters["network"])
    recipe = with_known_precision(Recipe.from_dict(parameters["recipe"]))
    data, seed = load_data("mnist"), parameters["seed"]
    workflow = registry.load(parameters["workflow"])(
        network.with_dropout_scaled(recipe.dropout_scale), recipe, seed
    )
    timer, progress = Timer(Batches(data.train, recipe, seed)), Progress()
    workflow.fit(data, timer, progress)
    answer = {
        "seconds": timer.clock.seconds,
        "processor_seconds": timer.clock.processor_seconds,
        "compile_seconds": timer.compile_seconds,
        "precision": recipe.precision,
        "validation_loss": progress.history[-1].validation_loss,
        "validation_accuracy": progress.history[-1].validation_accuracy,
    }
    if parameters["test"]:
        found = np.argmax(workflow.logits(data.test.images), axis=1)
        answer["test_accuracy"] = float(np.mean(found == data.test.labels))
    return answer, {}
