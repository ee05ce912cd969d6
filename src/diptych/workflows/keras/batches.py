"""Images and labels as Keras takes them."""

import keras
import numpy as np

from diptych.data.batches import Batches, to_float
from diptych.workflows.progress import Progress

IMAGES_A_CALL = 500
"""Images a batch at inference."""
WORKERS = 2 if keras.config.backend() == "tensorflow" else 1
"""Threads that make batches. On TensorFlow, Keras leaves the work of one alone to tf.data with its
autotuning, for which the end of an epoch then waits, for up to as long again as it has taken. On
other backends nothing waits, and Keras' first look at the data would leave batches in two threads'
queue."""


class TrainingBatches(keras.utils.PyDataset):
    """The batches that are left of the epoch under way, then those of each following epoch."""

    def __init__(self, batches: Batches, progress: Progress, end: int) -> None:
        super().__init__(workers=WORKERS)
        self.batches, self.progress, self.start, self.end = batches, progress, progress.step, end

    @property
    def num_batches(self) -> int:
        return self.end - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self.batches.batch(self.progress.epoch, self.start + index)
        return to_float(images), labels


class Images(keras.utils.PyDataset):
    """A split's images, or images and labels, in order."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        # Two threads take a tenth of a second to end, which is long for a single batch.
        super().__init__(workers=WORKERS if len(images) > IMAGES_A_CALL else 1)
        self.images, self.labels = images, labels

    @property
    def num_batches(self) -> int:
        return -(-len(self.images) // IMAGES_A_CALL)

    def __getitem__(self, index: int):
        here = slice(index * IMAGES_A_CALL, (index + 1) * IMAGES_A_CALL)
        images = to_float(self.images[here])
        return (images,) if self.labels is None else (images, self.labels[here].astype(np.int64))
