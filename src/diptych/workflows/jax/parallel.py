"""``jax.distributed``: one training over several processes, each with a share of the batch's rows.

The computation is that of one process on the whole batch. The batch is an array whose rows are
spread over all processes' devices; weights and results are on each. XLA puts in what is sent
between them. JAX draws random numbers by their place in an array, so dropout does not depend on how
many processes there are.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows.group import Group

if TYPE_CHECKING:
    from diptych.workflows.jax.layers import Params
    from diptych.workflows.jax.training import Training

Tree = TypeVar("Tree")


def meet(group: Group) -> None:
    """Waits until all processes of the group are there; nothing may have been computed yet."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    address = group.addresses[0]  # Without the last argument it listens on all of the machine's.
    jax.distributed.initialize(address, group.size, group.rank, coordinator_bind_address=address)


class Parallel:
    """This process's part of a training in several, which have met.

    Args:
        group: the processes.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        devices = np.array(jax.devices())
        if len(devices) % group.size:
            raise RuntimeError(f"{len(devices)} devices in {group.size} processes")
        mesh = Mesh(devices, ("rows",))
        self.rows = NamedSharding(mesh, PartitionSpec("rows"))
        self.whole = NamedSharding(mesh, PartitionSpec())
        self.devices = len(devices)

    def everywhere(self, tree: Tree) -> Tree:
        """Arrays that are the same in all processes, as arrays of all of them together."""

        def placed(leaf: Array) -> Array:
            value = np.asarray(leaf)
            return jax.make_array_from_callback(value.shape, self.whole, lambda part: value[part])

        return jax.tree.map(placed, tree)

    def spread(self, values: np.ndarray, padding: int) -> Array:
        """The rows of an array over all devices, padded so that each has as many."""
        count = -(-len(values) // self.devices) * self.devices
        rows = np.full((count, *values.shape[1:]), padding, values.dtype)
        rows[: len(values)] = values
        return jax.make_array_from_callback(rows.shape, self.rows, lambda part: rows[part])

    def train_step(
        self,
        now: "Training",
        network: Network,
        recipe: Recipe,
        frozen: frozenset[str],
        images: np.ndarray,
        labels: np.ndarray,
        rate: np.ndarray,
        key: Array,
    ) -> "tuple[Training, tuple[Array, Array]]":
        """As `training.train_step`, with the rows of the batch spread over the processes."""
        padded = len(labels) % self.devices > 0
        step = _step(network, recipe, frozen, self.whole, padded)  # pyright: ignore[reportArgumentType]
        data = np.asarray(jax.random.key_data(key))
        return step(now, self.spread(images, 0), self.spread(labels, -1), rate, data)

    def predict(
        self, network: Network, dtype: str, params: "Params", images: np.ndarray
    ) -> np.ndarray:
        """As `model.predict`, with the images spread over the processes."""
        function = _logits(network, dtype, self.whole)  # pyright: ignore[reportArgumentType]
        logits = function(params, self.spread(images, 0))
        return np.asarray(logits)[: len(images)]

    def agreed(self, stop: bool) -> bool:
        """True where the first process stops; the others do as it does."""
        return bool(multihost_utils.broadcast_one_to_all(np.int32(stop)))


@cache
def _step(
    network: Network,
    recipe: Recipe,
    frozen: frozenset[str],
    whole: NamedSharding,
    padded: bool,
) -> Any:
    from diptych.workflows.jax.training import train_step

    def step(now: Any, images: Array, labels: Array, rate: Array, data: Array) -> Any:
        key = jax.random.wrap_key_data(data)
        return train_step(now, network, recipe, frozen, images, labels, rate, key, padded=padded)

    return jax.jit(step, out_shardings=whole)


@cache
def _logits(network: Network, dtype: str, whole: NamedSharding) -> Any:
    from diptych.workflows.jax.model import predict

    def logits(params: Any, images: Array) -> Array:
        return predict(network, dtype, params, images)

    return jax.jit(logits, out_shardings=whole)
