"""`keras.distribution.DataParallel` on JAX: one training over several processes.

Each process passes its rows of a batch to Keras, and JAX computes on them as on one array, whose
rows are spread over the processes. So the computation is that of one process on the whole batch.
The batch is padded to as many rows for each process; the padding has the sample weight 0. JAX draws
random numbers by their place in an array, so dropout does not depend on the number of processes.
"""

from collections.abc import Callable

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from diptych.workflows.group import Group
from diptych.workflows.jax import parallel


def meet(group: Group) -> None:
    """Waits until all processes of the group are there; nothing may have been computed yet."""
    parallel.meet(group)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


class Parallel:
    """The part of this process in a training of several, which have met.

    Args:
        group: the processes.
    """

    def __init__(self, group: Group) -> None:
        self.group = group

    def share(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """This process's rows of a padded batch, its labels, and their sample weights.

        Args:
            images: (batch, …).
            labels: (batch,).
        """
        count, devices = len(labels), jax.device_count()
        weights = np.ones(count, np.float32)
        padding = -count % devices
        rows = self.group.rows(count + padding)

        def padded(values: np.ndarray) -> np.ndarray:
            return np.pad(values, [(0, padding)] + [(0, 0)] * (values.ndim - 1))[rows]

        return padded(images), padded(labels), padded(weights)

    def agreed(self, stop: bool) -> bool:
        """True where the first process stops; the others do as it does."""
        return bool(multihost_utils.broadcast_one_to_all(np.int32(stop)))

    def alone(self, function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """The value of a function that builds and computes in this process alone."""
        distribution = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            return function(images)
        finally:
            keras.distribution.set_distribution(distribution)
