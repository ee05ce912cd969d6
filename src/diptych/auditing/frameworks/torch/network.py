"""The user's module between PyTorch's layout and the graph's: its nodes, run and recorded."""

from collections import defaultdict
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.defaults import DRAWING
from diptych.auditing.frameworks.torch import parameters as layouts
from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.combining import Combination
from diptych.auditing.frameworks.torch.compiling import uncompiled
from diptych.auditing.frameworks.torch.copies import copied_anew
from diptych.auditing.frameworks.torch.inputs import Inputs
from diptych.auditing.frameworks.torch.layout import from_graph, to_graph, to_numpy
from diptych.auditing.frameworks.torch.parameters import PLAIN, named_tensors
from diptych.auditing.frameworks.torch.reader import Reader, Reading
from diptych.auditing.frameworks.torch.running import (
    check_output,
    drawing_from,
    mode,
    named_by,
    random_state,
)
from diptych.auditing.frameworks.torch.trace import Reached, Trace
from diptych.auditing.frameworks.users import listed
from diptych.auditing.gradients import Sparse, indices_of
from diptych.auditing.graph import INPUT, Arrays
from diptych.errors import InputError

RUNS = 8
"""The maximum number of runs to read a network that skips layers at random."""


class Network:
    """The first build's module, read as nodes."""

    def __init__(self, builds: Builds, inputs: Inputs) -> None:
        """Takes the builds of a side and inputs that it runs on."""
        self._builds, self._inputs, self._module = builds, inputs, builds.module
        self._readings: dict[bool, Reading] = {}

    def load(self, parameters: Arrays) -> None:
        """Puts parameters in, by their names.

        Raises:
            InputError: it has no parameter of a name, or one of another shape.
        """
        own, combined = named_tensors(self._module), self.combined
        unknown = [name for name in parameters if name not in own and name not in combined]
        if unknown:
            raise InputError(f"the module has no parameter {listed(unknown)}: it has {listed(own)}")
        with torch.no_grad():
            for name, array in parameters.items():
                for part, tensor in self._as_parameters(own, name, array).items():
                    own[part].copy_(tensor)
        copied_anew(self._builds.first.copies, self._module)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """As `Adapter.record`."""
        with mode(self._module, training), uncompiled():
            trace, given = Trace(self._module), self.input(x)
            with named_by(given):
                trace.run(given)
            changed = self.parameters_of(self._module)
            arrays = Reader(trace, self._builds.lines, self.layout).read().arrays
        for node in self.reading(True).nodes:
            # `if self.training:` around a dropout.
            if node.name not in arrays and node.kind in DRAWING:
                (source,) = node.inputs
                if source == INPUT or source in arrays:
                    arrays[node.name] = x if source == INPUT else arrays[source]
        if training:
            averages = changed.keys() & dict(self._module.named_buffers()).keys()
            arrays |= {f"parameter:{name}": changed[name] for name in sorted(averages)}
        return arrays

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        """As `Adapter.run_node`."""
        reading = self.reading(training)
        if name not in reading.drafts:
            return inputs[0]  # As in `record`.
        draft = reading.drafts[name]
        if not draft.feeds:
            (shape,) = (node.shape for node in reading.nodes if node.name == name)
            return inputs[0].reshape(-1, *shape)
        swaps: dict[int, dict[int, Tensor]] = defaultdict(dict)
        for feed in draft.feeds:
            array = from_graph(inputs[feed.input], feed.layout, feed.dimensions)
            swaps[feed.event][feed.position] = self._inputs.tensor(array)
        with mode(self._module, training), uncompiled():
            try:
                trace = Trace(self._module, swaps, draft.made_by)
                trace.run(self._inputs.batch(self._batch_for(reading, name, len(inputs[0]))))
            except Reached as reached:
                return np.ascontiguousarray(to_graph(to_numpy(reached.value), draft.layout))
        raise InputError(
            f"{name} is not reached when the network is run on other numbers: the module's "
            "`forward` decides by its input what it does"
        )

    def _batch_for(self, reading: Reading, name: str, rows: int) -> int:
        """The number of examples for which a node gets so many rows: more than one row per example
        where the user's code has put steps into the batch."""
        (source, *_) = next(node for node in reading.nodes if node.name == name).inputs
        own = len(reading.arrays[source]) if source in reading.arrays else len(self._inputs.x)
        return max(1, rows * len(self._inputs.x) // max(1, own))

    def reading(self, training: bool) -> Reading:
        """The module's nodes, from a run on the example inputs.

        Where the user's code leaves out layers at random, it is the run of several that leaves out
        the fewest parameters: what it leaves out would have no place in the other side.
        """
        if training not in self._readings:
            readings: list[Reading] = []
            for number in range(RUNS):
                reading, drew = self._read(training, number)
                readings.append(reading)
                if not drew or not self._left_out(reading):
                    break
            self._readings[training] = min(readings, key=self._left_out)
        return self._readings[training]

    def _read(self, training: bool, number: int) -> tuple[Reading, bool]:
        """The nodes of a run with random numbers from this seed, and whether it drew any."""
        trace, x = Trace(self._module), self._inputs.batch(len(self._inputs.x))
        with mode(self._module, training), drawing_from(number), uncompiled(), named_by(x):
            before = random_state()
            check_output(trace.run(x))
            drew = random_state() != before
        layout = self._readings[True].input_layout if True in self._readings else None
        return Reader(trace, self._builds.lines, layout).read(), drew

    def _left_out(self, reading: Reading) -> int:
        """The number of the module's parameters that no node has."""
        names = {name for node in reading.nodes for name in node.parameters.values()}
        names |= {
            part
            for name in names & reading.combined.keys()
            for part in reading.combined[name].parts
        }
        return len(dict(self._module.named_parameters()).keys() - names)

    @property
    def layout(self) -> str:
        """The layout of the module's input."""
        return self.reading(True).input_layout

    def turn(self, name: str) -> str:
        """The layout of a parameter relative to the graph's."""
        turns = self.reading(True).turns
        if name in turns or name in self._of_nodes:
            return turns.get(name, PLAIN)
        return layouts.usual_turn(self._module, name)

    @cached_property
    def _of_nodes(self) -> set[str]:
        """The parameters that nodes have; others are beside the network."""
        return {n for node in self.reading(True).nodes for n in node.parameters.values()}

    def parameters_of(self, module: nn.Module) -> Arrays:
        """A copy of the parameters of a build's module, in the graph's layout."""
        return {name: np.array(array, order="C") for name, array in self.views_of(module).items()}

    def views_of(self, module: nn.Module) -> Arrays:
        """The parameters of a build's module, in the graph's layout, without a copy where their
        type is that of the arrays."""
        raw = {name: to_numpy(tensor) for name, tensor in named_tensors(module).items()}
        combined = self.combined
        return {
            name: layouts.turned(array, self.turn(name))
            for name, array in raw.items()
            if name not in self.reading(True).constants and name not in self._parts
        } | {name: combination.to_graph(raw) for name, combination in combined.items()}

    def gradients_of(self, module: nn.Module) -> Arrays:
        """The gradients that a build's parameters have, in the graph's layout."""
        raw = {
            name: to_numpy(parameter.grad)
            for name, parameter in module.named_parameters()
            if parameter.grad is not None
        }
        combined = {n: combination.gradient(raw) for n, combination in self.combined.items()}
        return {
            name: layouts.to_graph(array, self.turn(name))
            for name, array in raw.items()
            if name not in self._parts
        } | {name: gradient for name, gradient in combined.items() if gradient is not None}

    def as_gradients(self, gradients: Arrays | Sparse) -> dict[str, Tensor]:
        """Gradients in the graph's layout as those of the module's own trained parameters."""
        own, tensors = named_tensors(self._module), {}
        sparse = isinstance(gradients, Sparse)
        for name in gradients.shapes if sparse else gradients:
            if sparse and name not in self.combined and _is_writable(own[name]):
                tensors[name] = self._sparse(own[name], name, gradients)
                continue
            array = gradients.array(name) if sparse else gradients[name]
            if name not in self.combined:
                tensors[name] = self._as_parameter(own[name], name, array)
                continue

            def current(part: str) -> np.ndarray:
                return to_numpy(tensors.get(part, torch.zeros_like(own[part])))

            for part, value in self.combined[name].spread(array, current).items():
                if own[part].requires_grad:
                    tensors[part] = _like(own[part], value)
        return tensors

    def _sparse(self, own: Tensor, name: str, gradients: Sparse) -> Tensor:
        """A sparse gradient as a tensor like the parameter, written where it lies."""
        gradient = torch.zeros_like(own.detach())
        view = np.atleast_1d(layouts.turned(gradient.numpy(), self.turn(name)))
        view[indices_of(gradients.places[name], view.shape)] = gradients.numbers[name]
        return gradient

    @property
    def combined(self) -> dict[str, Combination]:
        """The parameters that are built from several of the module's."""
        return self.reading(True).combined

    @property
    def _parts(self) -> set[str]:
        """The parameters that others are built from."""
        return {part for combination in self.combined.values() for part in combination.parts}

    def _as_parameters(
        self, own: dict[str, Tensor], name: str, array: np.ndarray
    ) -> dict[str, Tensor]:
        """Tensors like the module's ``own`` that make up a parameter, by their names.

        Raises:
            InputError: the array has another shape.
        """
        if name not in self.combined:
            return {name: self._as_parameter(own[name], name, array)}
        try:
            parts = self.combined[name].from_graph(array, lambda part: to_numpy(own[part]))
        except (ValueError, IndexError):
            raise InputError(
                f"{name} was given the shape {array.shape}, which does not fit"
            ) from None
        return {part: _like(own[part], value) for part, value in parts.items()}

    def _as_parameter(self, own: Tensor, name: str, array: np.ndarray) -> Tensor:
        """An array in the graph's layout as a tensor like the module's ``own`` of that name.

        Raises:
            InputError: it has another shape.
        """
        try:
            back = layouts.from_graph(array, self.turn(name), own.shape)
        except ValueError:
            shape = layouts.to_graph(to_numpy(own), self.turn(name)).shape
            raise InputError(f"{name} was given the shape {array.shape}: it has {shape}") from None
        return _like(own, back)

    def input(self, x: np.ndarray) -> Tensor:
        """Inputs in the graph's layout as the module takes them."""
        given = from_graph(x, self.layout, self._inputs.x.ndim)
        return self._inputs.tensor(given).to(self._inputs.x.dtype)


def _like(own: Tensor, array: np.ndarray) -> Tensor:
    """An array as a tensor that lies in memory as a tensor of the module's does."""
    # As autograd does: optimizers that take a tensor for a row of numbers rely on it.
    return torch.empty_like(own.detach()).copy_(torch.tensor(np.array(array, order="C")))


def _is_writable(own: Tensor) -> bool:
    """True where NumPy can write into a tensor like this one in the graph's layout."""
    floating = own.dtype in (torch.float32, torch.float64)
    return floating and own.device.type == "cpu" and own.is_contiguous()
