"""A PyTorch module, its loss and its optimizer, as a side of an audit.

PyTorch has no description of a network to read: the code of `forward` is the network. So the module
is run under a `TorchFunctionMode`, which sees each call that the code makes, with its real values
(`Trace`); and the nodes are read from the calls (`Reader`). One run gives the nodes, the output of
each, and the line of code that each stands on, whatever Python decides on the way.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from diptych.auditing.frameworks.torch import horizon, rounding
from diptych.auditing.frameworks.torch.batching import Batch, Batching
from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.compiling import (
    graphs_compiled,
    is_compiled,
    room_for_graphs,
)
from diptych.auditing.frameworks.torch.inputs import find
from diptych.auditing.frameworks.torch.layout import from_graph, to_graph, to_numpy
from diptych.auditing.frameworks.torch.network import Network
from diptych.auditing.frameworks.torch.optimizers import described
from diptych.auditing.frameworks.torch.running import (
    begin_randomness,
    forward,
    mode,
    own_randomness,
    step_on,
)
from diptych.auditing.frameworks.torch.schedule import LOOKED_AT, Followed, Follower
from diptych.auditing.frameworks.torch.steps import Steps
from diptych.auditing.frameworks.torch.training import Training
from diptych.auditing.frameworks.torch.twin import default_dtype, in_own_precision
from diptych.auditing.frameworks.users import worded
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError


class Adapter:
    """A PyTorch side; see `diptych.auditing.frameworks.protocol.Adapter`.

    The module's mode as the user's function returns it is the one that its training runs in.
    """

    trains = True

    def __init__(self, build: Callable[[int], Any], precision: torch.dtype | None = None) -> None:
        """Builds the side.

        Args:
            build: gives what the user's function returns.
            precision: the floating-point type that the user's code is to run in, where it is not
                the one that the code has by itself.
        """
        self.framework = f"PyTorch {torch.__version__.split('+')[0]}"
        self.precision = precision
        self._build = build
        self._builds = Builds(build, precision)
        self._module, self._extras = self._builds.module, self._builds.first.extras
        graphs = graphs_compiled()
        self._inputs = find(self._builds, precision)
        self.targets = self._inputs.targets
        packing = self._builds.first.packing
        self.whole = packing.whole if packing else []
        self.packed_inputs = packing.shapes if packing else []
        of_targets = self._builds.first.target_packing
        self.packed_targets = of_targets.shapes if of_targets else []
        loss = getattr(self._builds.first.loss, "user", self._builds.first.loss)
        own = {
            name: v
            for name, v in getattr(loss, "__dict__", {}).items()
            if name[:1] != "_" and name != "training"
        }
        self.loss_words = getattr(loss, "told", "") or worded(
            loss, own if isinstance(loss, torch.nn.Module) else {}
        )
        compiled = is_compiled(self._builds.first) or graphs_compiled() > graphs
        self._network = Network(self._builds, self._inputs)
        self._batching = Batching(self._builds, self._inputs, self._network)
        self.prepares, self.data_told = self._batching.prepares, self._batching.told
        dropout_line = self._network.reading(True).dropout_line
        self._training = Training(self._builds, self._inputs, compiled, dropout_line)
        self._steps = Steps(self._module, self._network, self._batching, self._training)
        self._runs = 0
        self._seen: Followed | None = None

    # The network.

    @in_own_precision
    def graph(self) -> Graph:
        """The graph of `forward` in the mode that the module trains in."""
        reading = self._network.reading(True)
        x = to_graph(to_numpy(self._inputs.x), reading.input_layout)
        return Graph(x.shape[1:], reading.nodes)

    @in_own_precision
    def parameters(self) -> Arrays:
        return self._network.parameters_of(self._module)

    @in_own_precision
    def load(self, parameters: Arrays) -> None:
        self._network.load(parameters)

    @in_own_precision
    def record(self, x: np.ndarray, training: bool) -> Arrays:
        return self._network.record(x, training)

    @in_own_precision
    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        return self._network.run_node(name, inputs, training)

    # The data.

    @in_own_precision
    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        return self._batching.prepare(images, labels, self.precision)

    @in_own_precision
    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        return self._batching.coded(count, epochs)

    @in_own_precision
    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        return self._batching.epochs(x, y, epochs)

    # Whole functions, and the same side in float64.

    def twin(self) -> "Adapter":
        """The same side in float64; see the protocol.

        Code that casts to fewer bits by hand, runs under autocast or makes a module of bfloat16
        has no twin.
        """
        try:
            with default_dtype(torch.float64):
                twin = Adapter(self._build, torch.float64)
                twin.load(self.parameters())
                constants = twin._network.reading(True).constants
                rounding.check(twin._builds, twin._inputs, twin._training, constants)
        except InputError as error:
            raise NotImplementedError(f"it does not run in float64: {error}") from error
        return twin

    @in_own_precision
    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        layout, given = self._network.reading(True).output_layout, self._network.input(x)
        outputs = []
        for _ in range(runs):
            self._runs += 1
            with (
                own_randomness(),
                mode(self._module, training),
                torch.set_grad_enabled(training),
                room_for_graphs(),
            ):
                torch.manual_seed(self._runs)
                output = forward(self._builds.first, given)
            outputs.append(to_graph(to_numpy(output), layout))
        return np.stack(outputs)

    @in_own_precision
    def horizon(self) -> dict[str, Any]:
        return horizon.horizon(self._builds.first, self._first_steps())

    @in_own_precision
    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        return self._follower().follow(steps).rates

    @in_own_precision
    def settings(self) -> dict[str, str]:
        return horizon.settings(self._builds.first, self._first_steps())

    def _first_steps(self) -> Followed:
        self._seen = self._seen or self._follower().look(LOOKED_AT)
        return self._seen

    @cached_property
    def _accumulated(self) -> int:
        """Over how many of the user's own steps gradients accumulate."""
        if "step" not in self._extras or self._training.compiled:
            return 1  # Steps that are followed with another network would leave their graphs.
        try:
            return self._first_steps().accumulated()
        except NotImplementedError:
            return 1

    def _follower(self) -> Follower:
        count = len(self._inputs.x)
        x, y = self._inputs.batch(count), self._inputs.batch_targets(count)
        return Follower(self._training.fresh(), x, y)

    # Training.

    @in_own_precision
    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        reading = self._network.reading(True)
        array = from_graph(outputs, reading.output_layout, reading.output_dimensions)
        output, y = self._inputs.tensor(array), self._batching.target(targets)
        return self._training.loss_of_outputs(output, y, self._accumulated)

    @in_own_precision
    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self._derived(x, targets, drawing=False)

    @in_own_precision
    def drawn_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self._derived(x, targets, drawing=True)

    def _derived(self, x: np.ndarray, targets: np.ndarray, drawing: bool) -> tuple[float, Arrays]:
        """The loss and its gradients, with dropout on or off."""
        with room_for_graphs():
            given, y = self._network.input(x), self._batching.target(targets)
            submission, loss, value = self._training.loss_in_training(
                given, y, self._accumulated, drawing
            )
            for parameter in submission.module.parameters():
                parameter.grad = None
            if loss.requires_grad:
                loss.backward()
        return value, self._network.gradients_of(submission.module)

    def seed(self, number: int) -> None:
        begin_randomness(number)

    @in_own_precision
    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> Iterator[Arrays]:
        submission, network = self._training.fresh(), self._network
        count = len(self._inputs.x)
        x, y = self._inputs.batch(count), self._inputs.batch_targets(count)

        def steps() -> Iterator[Arrays]:
            for step_gradients in gradients:
                if callable(step_gradients) or self._accumulated != 1:
                    # Each of several batches has its share of the gradient.
                    arrays = at(step_gradients, partial(network.views_of, submission.module))
                    step_gradients = {n: a / self._accumulated for n, a in arrays.items()}
                given = network.as_gradients(step_gradients)
                with default_dtype(self.precision):
                    step_on(submission, given, x, y)
                yield keep(network.views_of(submission.module))

        return steps()

    @in_own_precision
    def steps(
        self, batches: Iterable[Batch], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        return self.steps_then_predict(batches, keep, None, ())[:2]

    @in_own_precision
    def steps_then_predict(
        self,
        batches: Iterable[Batch],
        keep: Keep,
        x: np.ndarray | None,
        averages: Collection[str],
    ) -> tuple[list[float], list[Arrays], np.ndarray | None]:
        return self._steps.without_dropout(batches, keep, x, averages)

    @property
    def silenced(self) -> bool:
        """True if dropout or noise was switched off in the last `steps`."""
        return self._steps.silenced

    @in_own_precision
    def later_outputs(
        self, batches: Iterable[Batch], x: np.ndarray, targets: np.ndarray, seeds: Iterable[int]
    ) -> np.ndarray:
        return self._steps.outputs_after(batches, x, targets, seeds)

    @in_own_precision
    def initial(self, draws: int) -> list[Arrays]:
        drawn, x = [], self._inputs.batch(len(self._inputs.x))
        with own_randomness():
            for seed in range(draws):
                torch.manual_seed(seed)
                drawn.append(self._network.parameters_of(self._builds.another(seed, x).module))
        return drawn

    def optimiser(self) -> dict[str, Any]:
        return described(self._builds.first.optimizer)
