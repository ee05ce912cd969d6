"""A network in JAX with its loss and its optax optimiser, as a side of an audit.

Flax NNX, Flax Linen, Equinox and plain functions become functions of arrays (`submission`); these
are traced, and the nodes are read from the trace (`reader`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from diptych.auditing.frameworks.jax.batching import Batch, Batching
from diptych.auditing.frameworks.jax.builds import build_of, in_own_precision
from diptych.auditing.frameworks.jax.inputs import find
from diptych.auditing.frameworks.jax.network import Network
from diptych.auditing.frameworks.jax.training import Training
from diptych.auditing.gradients import Gradients, Keep, whole
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError


class Adapter:
    """A side in JAX; see `diptych.auditing.frameworks.protocol.Adapter`."""

    trains = True

    def __init__(self, build: Callable[[int], Any], dtype: type = np.float32) -> None:
        """Builds the side, in float32 or as a twin in float64."""
        self.build, self.dtype = build, dtype
        self._open()

    @in_own_precision
    def _open(self) -> None:
        side = build_of(self.build, self.dtype, 0)
        inputs = find(side, self.dtype)
        self.framework = f"JAX {jax.__version__} with {side.style}"
        self.network = Network(side, inputs, self.dtype)
        self.training = Training(self.network)
        self.batching = Batching(self.network)
        self.prepares, self.targets = self.batching.prepares, inputs.targets

    # The network.

    @in_own_precision
    def graph(self) -> Graph:
        nodes = self.network.trained[1].nodes
        return Graph(self.network.input_shape, tuple(nodes))

    @in_own_precision
    def parameters(self) -> Arrays:
        return self.network.parameters()

    @in_own_precision
    def load(self, parameters: Arrays) -> None:
        self.network.load(parameters)

    @in_own_precision
    def record(self, x: np.ndarray, training: bool) -> Arrays:
        return self.network.record(x, training)

    @in_own_precision
    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        return self.network.run_node(name, inputs, training)

    @in_own_precision
    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        return self.network.outputs(x, training, runs)

    # The data.

    @in_own_precision
    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        return self.batching.prepare(images, labels)

    @in_own_precision
    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        return self.batching.coded(count, epochs)

    @in_own_precision
    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        return self.batching.epochs(x, y, epochs)

    # Other builds.

    def twin(self) -> "Adapter":
        """The same side in float64: the function is called with x64, and all floating-point arrays
        are widened."""
        try:
            twin = Adapter(self.build, np.float64)
            twin.load(self.parameters())
            narrow = twin.narrowed()
        except InputError as error:
            raise NotImplementedError(f"it does not run in float64: {error}") from error
        if narrow:
            raise NotImplementedError(f"its code rounds to {narrow} by itself")
        return twin

    @in_own_precision
    def narrowed(self) -> str:
        """The type that the network's code rounds float64 to; empty where it does not."""
        return self.network.narrowed()

    @in_own_precision
    def initial(self, draws: int) -> list[Arrays]:
        builds = (build_of(self.build, self.dtype, draw) for draw in range(1, draws + 1))
        return [self.network.named(build.params, build.state) for build in builds]

    # Training.

    @in_own_precision
    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self.training.loss(outputs, targets)

    @in_own_precision
    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.training.loss_and_gradients(x, targets)

    @in_own_precision
    def drawn_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.training.drawn_gradients(x, targets)

    @in_own_precision
    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> Iterator[Arrays]:
        return self.training.updates(gradients, keep)

    @in_own_precision
    def steps(
        self, batches: Iterable[Batch], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        return self.training.steps(batches, keep)

    @in_own_precision
    def steps_then_predict(
        self, batches: Iterable[Batch], keep: Keep, x: np.ndarray, averages: Collection[str]
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        return self.training.steps_then_predict(batches, keep, x, averages)

    @in_own_precision
    def later_outputs(
        self, batches: Iterable[Batch], x: np.ndarray, targets: np.ndarray, seeds: Iterable[int]
    ) -> np.ndarray:
        return self.training.later_outputs(batches, x, seeds)

    @in_own_precision
    def own_code(self) -> dict[str, bool]:
        return self.training.counts()  # Schedules of the user's run compiled, so unseen.

    def optimiser(self) -> dict[str, Any]:
        return {}  # Functions of optax do not say what they are.

    def horizon(self) -> dict[str, Any]:
        return {"steps": None, "source": ""}

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        raise NotImplementedError("optax does not say the learning rates of an optimiser")

    def settings(self) -> dict[str, str]:
        return {}
