"""A side's data: its preparation of raw images, and its batches."""

from typing import Any

import numpy as np

from diptych.auditing.frameworks.defaults import coded, default_batch
from diptych.auditing.frameworks.jax.inputs import prepared
from diptych.auditing.frameworks.jax.network import Network
from diptych.auditing.frameworks.users import users_code

Batch = tuple[np.ndarray, np.ndarray]


class Batching:
    """The user's `prepare`, `data` and `batches` in extras, or defaults."""

    def __init__(self, network: Network) -> None:
        """Takes the network, which knows its build and what it is fed with."""
        self.network, self.extras = network, network.side.extras
        self.prepares = bool({"prepare", "data"} & self.extras.keys())

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        """As `Adapter.prepare`."""
        network = self.network
        if self.prepares:
            x, y = prepared(self.extras, images, labels)
            x = network.layout.to_graph(x.astype(network.type_of(x)))
            return np.ascontiguousarray(x), y
        inputs, units = network.inputs, network.inputs.output.shape[-1]
        shape = network.input_shape
        return default_batch(images, labels, shape, inputs.targets, units, network.dtype)

    def coded(self, count: int, epochs: int) -> list[list[Batch]] | None:
        """As `Adapter.batches`."""
        inputs, dtype = self.network.inputs, self.network.dtype
        one: tuple[int, ...] = ()
        kind: Any = np.int64
        if inputs.targets != "classes":
            one, kind = inputs.output.shape[1:], dtype
        x = coded(count, inputs.x.shape[1:], dtype)
        return self._epochs(x, coded(count, one, kind), epochs)

    def epochs(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        """As `Adapter.batches_of`."""
        return self._epochs(self.network.layout.from_graph(x), y, epochs)

    def _epochs(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        make = self.extras.get("batches")
        if make is None:
            return None
        to_graph, result = self.network.layout.to_graph, []
        with users_code("`batches` in extras"):
            for _ in range(epochs):
                epoch = [(np.asarray(a), np.asarray(b)) for a, b in make(x, y)]
                result.append([(to_graph(a), b) for a, b in epoch])
        return result
