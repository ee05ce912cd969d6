"""Low-level TensorFlow: an object with ``variables``, ``loss(x, y)`` and ``step(x, y)``.

Nothing says what the network is but what it computes. So the loss is traced into TensorFlow's graph
of operations (`Trace`), the graph is cut into blocks, and the blocks are read (`Reader`):
convolutions, products and pools by their attributes; stretches of arithmetic by what they do to
numbers, so that ``tf.maximum(x, 0.2 * x)`` is a leaky relu and a normalisation written by hand is a
batch normalisation. A stretch that is nothing known becomes one ``custom`` node.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import told_of
from diptych.auditing.frameworks.tensorflow import horizon, inputs
from diptych.auditing.frameworks.tensorflow.averages import Averages
from diptych.auditing.frameworks.tensorflow.builds import Builds
from diptych.auditing.frameworks.tensorflow.inputs import EXAMPLES
from diptych.auditing.frameworks.tensorflow.network import Network
from diptych.auditing.frameworks.tensorflow.training import Training
from diptych.auditing.frameworks.tensorflow.twin import explained, widened
from diptych.auditing.frameworks.users import users_code
from diptych.auditing.gradients import Gradients, Keep, whole
from diptych.auditing.graph import Arrays, Graph

Batch = tuple[np.ndarray, np.ndarray]


class Adapter:
    """A side in low-level TensorFlow; see `diptych.auditing.frameworks.protocol`."""

    trains = True

    def __init__(self, build: Callable[[int], Any], of: "Adapter | None" = None) -> None:
        """Builds the side, or the float64 twin of another one."""
        self._build = build
        self.framework = f"TensorFlow {tf.__version__}"
        if of is None:
            self._builds = Builds(build)
            self._inputs = inputs.find(self._builds.first)
            self._network = Network(self._builds.first, self._inputs)
            self._training = Training(self._builds, self._network)
            self._averages = Averages(self._builds, self._network)
        else:
            self.framework += " in float64"
            types = (of._inputs.x.dtype, of._inputs.y.dtype)
            graph = of.graph()  # What its averages are is known from the user's own steps.
            training = Training(of._builds, of._network, of._training)
            with explained():
                self._builds, self._inputs = Builds(build, types), of._inputs.widened()
                self._network = Network(self._builds.first, self._inputs, of._network)
                self._training = Training(self._builds, self._network, training)
                self._averages = Averages(self._builds, self._network)
                self._averages.graph = graph
        data = self._builds.first.data
        self.data_told = told_of(*map(np.array, data)) if data is not None else {}
        self.prepares, self.targets = self._builds.first.prepares, self._inputs.targets

    def twin(self) -> "Adapter":
        """The side in float64, from the graphs of the user's functions; it has the parameters that
        were loaded last.

        Raises:
            NotImplementedError: something in its loss or its logits exists in float32 alone.
        """
        twin = Adapter(self._build, self)
        twin.load(self.parameters())
        x, y = self.example(EXAMPLES)
        with explained():  # What has no float64 kernel fails now.
            twin.loss_and_gradients(widened(x), y)
            twin.record(widened(x), training=False)
        return twin

    def graph(self) -> Graph:
        return self._averages.graph

    # Parameters.

    def parameters(self) -> Arrays:
        return self._network.parameters_of(self._builds.first)

    def load(self, parameters: Arrays) -> None:
        self._network.load(parameters)

    def initial(self, draws: int) -> list[Arrays]:
        return [
            self._network.parameters_of(self._builds.another(seed)) for seed in range(1, draws + 1)
        ]

    # Running it.

    def example(self, count: int) -> Batch:
        """Some plausible input and targets, the same each time, as the object takes them."""
        return self._inputs.example(self._builds.first, count)

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        if self.prepares:
            return inputs.prepared(self._builds.first, images, labels)
        return self._inputs.default(images, labels)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        result = self._network.record(x, training)
        return result | self._averages.moved_averages(x) if training else result

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        return self._network.run_node(name, inputs, training)

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        return self._network.outputs(x, training, runs)

    # Training it.

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return self._network.loss(outputs, targets)

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self._training.loss_and_gradients(x, targets)

    def updates(self, gradients: Sequence[Gradients], keep: Keep = whole) -> list[Arrays]:
        return self._training.updates(gradients, keep)

    def steps(self, batches: list[Batch], keep: Keep = whole) -> tuple[list[float], list[Arrays]]:
        return self._training.steps(batches, keep)

    def steps_then_predict(
        self, batches: list[Batch], keep: Keep, x: np.ndarray, averages: Collection[str]
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        return self._training.steps_then_predict(batches, keep, x, averages)

    # What training depends on.

    def optimiser(self) -> dict[str, Any]:
        return horizon.optimiser(self._builds.first)

    def horizon(self) -> dict[str, Any]:
        return horizon.horizon(self._builds.first)

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        return horizon.rates(self._builds.first, steps)

    def settings(self) -> dict[str, str]:
        return horizon.settings(self._builds.first)

    def own_code(self) -> dict[str, bool]:
        return {"steps": True, "updates": False}  # A step is the user's own, and made a graph of.

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        return self.batches_of(*self._inputs.coded(count), epochs)

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        submission = self._builds.another(0)
        if submission.batches is None:
            return None
        most = 4 * len(x) + 4  # An epoch without an end is the user's slip.
        with users_code("batches"):
            return [
                [
                    (np.array(batch[0]), np.array(batch[1]))
                    for batch in itertools.islice(submission.batches(x, y), most)
                ]
                for _ in range(epochs)
            ]
