"""Images and labels as Keras takes them."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from diptych.data.batches import Batches, to_float
from diptych.workflows.progress import Progress

if TYPE_CHECKING:
    from diptych.workflows.keras.parallel import Parallel

IMAGES_A_CALL = 500
"""Images a batch at inference."""
WORKERS = 2 if keras.config.backend() == "tensorflow" else 1
"""Threads that make batches. On TensorFlow, Keras leaves the work of one alone to tf.data with its
autotuning, for which the end of an epoch then waits, for up to as long again as it has taken. On
other backends nothing waits, and Keras' first look at the data would leave batches in two threads'
queue."""


def to_keras(
    images: np.ndarray, labels: np.ndarray, parallel: "Parallel | None"
) -> tuple[np.ndarray, ...]:
    """A batch as Keras takes it; in a group this process's rows, with their sample weights."""
    if parallel is None:
        return to_float(images), labels
    images, labels, weights = parallel.share(images, labels)
    return to_float(images), labels, weights


class TrainingBatches(keras.utils.PyDataset):
    """The batches that are left of the epoch under way, then those of each following epoch."""

    def __init__(
        self, batches: Batches, progress: Progress, end: int, parallel: "Parallel | None" = None
    ) -> None:
        super().__init__(workers=WORKERS)
        self.parallel = parallel
        self.batches, self.progress, self.start, self.end = batches, progress, progress.step, end

    @property
    def num_batches(self) -> int:
        return self.end - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        images, labels = self.batches.batch(self.progress.epoch, self.start + index)
        return to_keras(images, labels, self.parallel)


class Images(keras.utils.PyDataset):
    """A split's images, or images and labels, in order."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        parallel: "Parallel | None" = None,
    ) -> None:
        # Two threads take a tenth of a second to end, which is long for a single batch.
        super().__init__(workers=WORKERS if len(images) > IMAGES_A_CALL else 1)
        self.images, self.labels, self.parallel = images, labels, parallel

    @property
    def num_batches(self) -> int:
        return -(-len(self.images) // IMAGES_A_CALL)

    def __getitem__(self, index: int):
        here = slice(index * IMAGES_A_CALL, (index + 1) * IMAGES_A_CALL)
        if self.labels is None:
            return (to_float(self.images[here]),)
        images, labels = self.images[here], self.labels[here].astype(np.int64)
        return to_keras(images, labels, self.parallel)
