"""A side's data: its preparation of raw images, its targets, and its batches."""

import numpy as np
import torch
from torch import Tensor

from diptych.auditing.frameworks.defaults import coded, default_batch, told_of
from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.inputs import Inputs, pair, prepared
from diptych.auditing.frameworks.torch.layout import FIRST, from_graph, to_graph, to_numpy
from diptych.auditing.frameworks.torch.network import Network
from diptych.auditing.frameworks.torch.parameters import as_array
from diptych.auditing.frameworks.torch.running import own_randomness
from diptych.auditing.frameworks.users import users_code

Batch = tuple[np.ndarray, np.ndarray]


class Batching:
    """The user's `prepare`, `data` and `batches` in extras, or defaults."""

    def __init__(self, builds: Builds, inputs: Inputs, network: Network) -> None:
        """Takes the builds of a side, inputs that it runs on, and its network."""
        self._builds, self._inputs, self._network = builds, inputs, network
        self._extras = builds.first.extras
        self.prepares = "prepare" in self._extras or "data" in self._extras
        data = None if "prepare" in self._extras else self._extras.get("data")
        self.told = told_of(*map(as_array, data)) if data else {}
        """Of the user's whole data, see `told_of`."""
        self._draws = 0

    def prepare(
        self, images: np.ndarray, labels: np.ndarray, precision: torch.dtype | None
    ) -> Batch:
        """As `Adapter.prepare`.

        Args:
            images, labels: raw data.
            precision: the floating-point type of a twin.
        """
        if self.prepares:
            x, y = map(as_array, prepared(self._extras, images, labels))
            if precision is not None and x.dtype.kind == "f":
                x = x.astype(np.float64)
            x = np.ascontiguousarray(to_graph(x, self._network.layout))
            return x, self._targets_to_graph(y)
        own = to_numpy(self._inputs.x)
        shape = to_graph(own, self._network.layout).shape[1:]
        units = self._inputs.output.shape[-1]
        return default_batch(images, labels, shape, self._inputs.targets, units, own.dtype)

    def coded(self, count: int, epochs: int) -> list[list[Batch]] | None:
        """As `Adapter.batches`."""
        x, y = as_array(self._inputs.x), as_array(self._inputs.target(self._inputs.y))
        coded_x, coded_y = (coded(count, part.shape[1:], part.dtype) for part in (x, y))
        return self._epochs(torch.tensor(coded_x), torch.tensor(coded_y), epochs)

    def epochs(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        """As `Adapter.batches_of`."""
        return self._epochs(self._network.input(x).cpu(), self.target(y).cpu(), epochs)

    def target(self, targets: np.ndarray) -> Tensor:
        """Targets in the graph's layout as the loss takes them."""
        if self._lie_as_outputs(targets):
            targets = from_graph(targets, FIRST, targets.ndim)
        return self._inputs.target(targets)

    def _epochs(self, x: Tensor, y: Tensor, epochs: int) -> list[list[Batch]] | None:
        if "batches" not in self._extras:
            return None
        result, source = [], "`batches` in extras"
        self._draws += 1
        with own_randomness(), users_code(source):
            torch.manual_seed(self._draws)
            # Of another build: the code may count its epochs.
            batches = self._builds.another(0, self._inputs.batch(1)).extras["batches"]
            layout = self._network.layout
            for _ in range(epochs):
                epoch = [pair(batch, source) for batch in batches(x, y)]
                result.append([(to_graph(x, layout), self._targets_to_graph(y)) for x, y in epoch])
        return result

    def _lie_as_outputs(self, y: np.ndarray) -> bool:
        """True where targets have a number for each of the output's, along the same axes."""
        reading = self._network.reading(True)
        return reading.output_layout == FIRST and y.ndim == reading.output_dimensions > 2

    def _targets_to_graph(self, y: np.ndarray) -> np.ndarray:
        """Targets in the layout of the graph's last node."""
        return np.ascontiguousarray(to_graph(y, FIRST)) if self._lie_as_outputs(y) else y
