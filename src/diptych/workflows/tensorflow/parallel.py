"""``MultiWorkerMirroredStrategy``: one training over several processes.

Each process computes the loss of its rows of a batch. The strategy sums losses and gradients over
the processes, and each process then takes the same step. The order of the images, their
augmentation and dropout are drawn for the whole batch, so they do not depend on the number of
processes.
"""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.errors import InputError
from diptych.workflows.group import Group


def meet(group: Group) -> None:
    """Waits until all processes of the group are there; nothing may have been computed yet.

    Raises:
        InputError: TensorFlow would use several devices in each process.
    """
    if (devices := strategy(group).num_replicas_in_sync) != group.size:
        raise InputError(
            f"tensorflow in {group.size} processes found {devices} devices, expected one in each "
            "process: set CUDA_VISIBLE_DEVICES to one GPU, or to nothing"
        )


@cache
def strategy(group: Group) -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy of this process, which TensorFlow sets up once."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": group.addresses}),
        task_type="worker",
        task_id=group.rank,
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


class Parallel:
    """The part of this process in a training of several, which have met.

    Args:
        group: the processes.
    """

    def __init__(self, group: Group) -> None:
        self.group, self.strategy = group, strategy(group)
        self.first, self.own, self.count = (tf.Variable(0, dtype=tf.int32) for _ in range(3))
        """The number of this process's first row of the batch, how many rows it has, and how many
        the batch has."""
        # The argument of a function is on no device, which the strategy wants to know.
        self.add = tf.function(
            lambda value: self.run(lambda here: self.sums(tf.identity(here)), value)
        )

    def share(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """This process's rows of stacked batches, (steps, batch, …); notes which they are.

        A process without rows gets one that does not count: for none, TensorFlow's convolution in
        oneDNN returns a wrong shape.
        """
        rows = self.group.rows(labels.shape[1])
        self.first.assign(rows.start)
        self.own.assign(rows.stop - rows.start)
        self.count.assign(labels.shape[1])
        rows = slice(rows.start, max(rows.stop, rows.start + 1))
        return images[:, rows], labels[:, rows]

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in which `sums` may be called."""
        return self.strategy.run(function, args=arguments)

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """This process's share of the mean over the whole batch; the shares' sum is the mean."""
        return tf.reduce_sum(values[: self.own]) / tf.cast(self.count, values.dtype)

    def sums(self, values: Any) -> Any:
        """The sum over all processes of each tensor."""
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    def agreed(self, stop: bool) -> bool:
        """True where the first process stops; the others do as it does."""
        wanted = stop and self.group.rank == 0
        return bool(self.add(tf.constant(float(wanted))) > 0)

    def together(self, chunks: list[np.ndarray]) -> np.ndarray:
        """The rows of all chunks, where each process has computed some of the chunks.

        Args:
            chunks: of the logits, float32; those of other processes are zero.
        """
        return self.add(tf.constant(np.concatenate(chunks))).numpy()

    def computes(self, chunk: int) -> bool:
        """True where this process computes that chunk of the images at inference."""
        return chunk % self.group.size == self.group.rank
