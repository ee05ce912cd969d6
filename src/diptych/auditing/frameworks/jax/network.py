"""The user's network between its own layout and the graph's: its nodes, run and recorded."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.frameworks.jax.behaviour import activation
from diptych.auditing.frameworks.jax.inputs import Inputs
from diptych.auditing.frameworks.jax.layout import Layout
from diptych.auditing.frameworks.jax.marks import marked
from diptych.auditing.frameworks.jax.names import Names
from diptych.auditing.frameworks.jax.reader import Reader, Reading
from diptych.auditing.frameworks.jax.submission import Submission
from diptych.auditing.frameworks.jax.trace import Trace
from diptych.auditing.frameworks.users import users_code
from diptych.auditing.graph import INPUT, Arrays


class Network:
    """A build's network with the parameters that were loaded last."""

    def __init__(self, side: Submission, inputs: Inputs, dtype: type) -> None:
        """Takes a build, inputs that it runs on and the type that it computes in."""
        self.side, self.inputs, self.dtype = side, inputs, dtype
        self.names = Names(side.params, side.state)
        self.params, self.state = side.params, side.state
        self.users_jit = False
        """True where the user's code compiles layers itself, which JAX would not trace again."""
        self._readings: dict[tuple[bool, int], tuple[Trace, Reading]] = {}
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._runs = 0

    def apply(self, params: Any, state: Any, x: Any, training: bool, key: Any = None) -> Any:
        """The outputs and the state after them."""
        return self.side.apply(params, state, x, training, key)

    def jitted(self, key: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """A function compiled once for each key."""
        if key not in self._compiled:
            self._compiled[key] = jax.jit(make())
        return self._compiled[key]

    def reading(self, training: bool, count: int) -> tuple[Trace, Reading]:
        """The nodes of a run with this number of examples."""
        if (training, count) not in self._readings:
            x = jax.ShapeDtypeStruct((count, *self.inputs.x.shape[1:]), self.type_of(self.inputs.x))

            def network(params: Any, state: Any, x: Any) -> Any:
                return self.apply(params, state, x, training)

            with marked(), users_code("the network"):
                trace = Trace(network, (self.params, self.state, x), activation)
            if trace.marks_inside:  # What the user has compiled would keep them.
                self.users_jit = True
                jax.clear_caches()
            parameters = {
                value: name
                for name, value in zip(self.names.paths, trace.inputs, strict=False)
                if name is not None
            }
            reading = Reader(trace, parameters, trace.inputs[-1]).read(trace.outputs[0])
            self._readings[training, count] = trace, reading
        return self._readings[training, count]

    @property
    def trained(self) -> tuple[Trace, Reading]:
        """The reading in training, of as many examples as the side's own inputs."""
        return self.reading(True, len(self.inputs.x))

    # Layouts.

    @cached_property
    def layout(self) -> Layout:
        """The position of the network's channels."""
        return self.trained[1].layout

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input in the graph's layout."""
        return self.layout.shape(self.inputs.x.shape)

    def type_of(self, x: np.ndarray) -> Any:
        """The type in which the network takes an array."""
        return self.dtype if x.dtype.kind == "f" else x.dtype

    def input(self, x: np.ndarray) -> Any:
        """Inputs in the graph's layout as the network takes them."""
        return jnp.asarray(self.layout.from_graph(x), self.type_of(x))

    def target(self, targets: np.ndarray) -> Any:
        """Targets as the loss takes them."""
        return self.inputs.target(targets, self.dtype)

    # Parameters.

    def named(self, params: Any, state: Any) -> Arrays:
        """The leaves of trees by their names, in the graph's layout; of params alone where state is
        None."""
        turns = self.trained[1].turns
        return {
            name: turns[name].to_graph(value) if turns.get(name) else value
            for name, value in self.names.arrays(params, state).items()
        }

    def filled(self, params: Any, arrays: Arrays, state: Any = None) -> tuple[Any, Any]:
        """Trees like these parameters and this state, by default the present one, with arrays of
        the graph's layout in the leaves of those names."""
        turns = self.trained[1].turns
        own = {n: turns[n].from_graph(v) if turns.get(n) else v for n, v in arrays.items()}
        return self.names.filled(params, self.state if state is None else state, own)

    def parameters(self) -> Arrays:
        """As `Adapter.parameters`."""
        return self.named(self.params, self.state)

    def load(self, parameters: Arrays) -> None:
        """As `Adapter.load`."""
        self.params, self.state = self.filled(self.params, parameters)

    # Running.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """As `Adapter.record`."""
        trace, reading = self.reading(training, len(x))
        names = list(reading.values)
        wanted = [reading.values[name] for name in names]

        def run(params: Any, state: Any, x: Any) -> Any:
            leaves = dict(zip(trace.inputs, jax.tree.leaves((params, state, x)), strict=True))
            values = trace.run(leaves, [*wanted, *trace.outputs])
            _, after = jax.tree.unflatten(trace.tree, values[len(wanted) :])
            return values[: len(wanted)], after

        compiled = self.jitted(("record", training, len(x)), lambda: run)
        values, after = compiled(self.params, self.state, self.input(x))
        outputs = dict(zip(names, (self.layout.to_graph(v) for v in values), strict=True))
        del outputs[INPUT]
        if not training:
            return outputs
        moved, averages = self.named(self.params, after), self.names.averages
        return outputs | {f"parameter:{n}": v for n, v in moved.items() if n in averages}

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        """As `Adapter.run_node`."""
        trace, reading = self.reading(training, len(inputs[0]))
        node = next(node for node in reading.nodes if node.name == name)
        values = dict(zip(trace.inputs, jax.tree.leaves((self.params, self.state)), strict=False))
        for before, value in zip(node.inputs, inputs, strict=True):
            values[reading.values[before]] = self.input(value)
        return self.layout.to_graph(trace.run(values, [reading.values[name]])[0])

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """As `Adapter.outputs`."""
        keys = [self.next_key() for _ in range(runs)]
        return np.stack([self.output(self.state, x, key, training) for key in keys])

    def output(self, state: Any, x: np.ndarray, key: Any, training: bool = True) -> np.ndarray:
        """The output in a state, with random numbers from a key, in the graph's layout."""
        run = self.jitted(
            ("outputs", training, len(x)),
            lambda: lambda params, state, x, key: self.apply(params, state, x, training, key)[0],
        )
        with users_code("the network"):
            y = run(self.params, state, self.input(x), key)
        return self.layout.to_graph(y)

    def next_key(self) -> Any:
        """A key that was not used before."""
        self._runs += 1
        return jax.random.key(self._runs)

    def narrowed(self) -> str:
        """The type that the network's code rounds float64 to; empty where it does not."""
        trace = self.trained[0]
        for operation in trace.needed([trace.outputs[0]]):
            before = [v for v in operation.inputs if v.constant is None and v.dtype == np.float64]
            after = operation.outputs[0].dtype
            if before and after in (np.float32, np.float16, jnp.bfloat16):
                return str(after)
        return ""
