"""A network in JAX with its loss and its optax optimiser, as a side of an audit.

Flax NNX, Flax Linen, Equinox and plain functions become functions of arrays (`submission`); these
are traced, and the nodes are read from the trace (`reader`).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, wraps
from typing import Any, TypeVar, cast
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.frameworks.defaults import coded, default_input, default_targets
from diptych.auditing.frameworks.jax import submission
from diptych.auditing.frameworks.jax.behaviour import activation
from diptych.auditing.frameworks.jax.inputs import example, find, prepared
from diptych.auditing.frameworks.jax.marks import marked, without_dropout
from diptych.auditing.frameworks.jax.names import Names
from diptych.auditing.frameworks.jax.reader import Reader, Reading, random
from diptych.auditing.frameworks.jax.trace import Trace
from diptych.auditing.frameworks.users import users_code
from diptych.auditing.graph import INPUT, Arrays, Graph
from diptych.errors import InputError

Batch = tuple[np.ndarray, np.ndarray]
Method = TypeVar("Method", bound=Callable[..., Any])
SEEDS = 1_000_003
"""The distance of the seeds of two fresh builds."""


def in_own_precision(method: Method) -> Method:
    """Has JAX know float64 while a method of a twin runs."""

    @wraps(method)
    def run(self: "Adapter", *arguments: Any, **named: Any) -> Any:
        with jax.enable_x64(self.dtype == np.float64):
            return method(self, *arguments, **named)

    return cast(Method, run)


class Adapter:
    """A side in JAX; see `diptych.auditing.frameworks.protocol.Adapter`."""

    trains = True

    @in_own_precision
    def _open(self) -> None:
        self.side = self._built(0)
        self.prepares = bool({"prepare", "data"} & self.side.extras.keys())
        self.inputs = find(self.side)
        self.targets = self.inputs.targets
        self.names = Names(self.side.params, self.side.state)
        self.params, self.state = self.side.params, self.side.state

    def __init__(self, build: Callable[[int], Any], dtype: type = np.float32) -> None:
        """Builds the side, in float32 or as a twin in float64."""
        self.build, self.dtype = build, dtype
        self._readings: dict[tuple[Any, ...], tuple[Trace, Reading]] = {}
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._runs = 0
        self._users_jit = False
        """Whether the user's code compiles layers itself, which JAX would not trace again."""
        self._open()
        self.framework = f"JAX {jax.__version__} with {self.side.style}"

    def _built(self, draw: int) -> submission.Submission:
        """A fresh build; the seeds in the user's code are others for each draw."""
        with users_code("the function"), _seeds(draw):
            return self._widened(submission.of(self.build(draw), example))

    def _widened(self, side: submission.Submission) -> submission.Submission:
        if self.dtype == np.float64:
            side.params, side.state = jax.tree.map(_wide, (side.params, side.state))
        return side

    # The network.

    def _apply(self, params: Any, state: Any, x: Any, training: bool, key: Any = None) -> Any:
        return self.side.apply(params, state, x, training, key)

    def _reading(self, training: bool, count: int) -> tuple[Trace, Reading]:
        """The nodes that a run on so many examples has."""
        if (training, count) not in self._readings:
            x = jax.ShapeDtypeStruct((count, *self.inputs.x.shape[1:]), self._type(self.inputs.x))

            def network(params: Any, state: Any, x: Any) -> Any:
                return self._apply(params, state, x, training)

            with marked(), users_code("the network"):
                trace = Trace(network, (self.params, self.state, x), activation)
            if trace.marks_inside:  # What the user has compiled would keep them.
                self._users_jit = True
                jax.clear_caches()
            leaves = self.names.paths
            parameters = {
                value: name
                for name, value in zip(leaves, trace.inputs, strict=False)
                if name is not None
            }
            reading = Reader(trace, parameters, trace.inputs[-1]).read(trace.outputs[0])
            self._readings[training, count] = trace, reading
        return self._readings[training, count]

    @cached_property
    def _layout(self) -> Any:
        return self._reading(True, len(self.inputs.x))[1].layout

    def _type(self, x: np.ndarray) -> Any:
        return self.dtype if x.dtype.kind == "f" else x.dtype

    @in_own_precision
    def graph(self) -> Graph:
        reading = self._reading(True, len(self.inputs.x))[1]
        return Graph(self._layout.shape(self.inputs.x.shape), tuple(reading.nodes))

    def _turned(self, name: str, value: np.ndarray, back: bool = False) -> np.ndarray:
        turn = self._reading(True, len(self.inputs.x))[1].turns.get(name)
        if turn is None:
            return value
        return turn.from_graph(value) if back else turn.to_graph(value)

    @in_own_precision
    def parameters(self) -> Arrays:
        return self._named(self.params, self.state)

    def _named(self, params: Any, state: Any) -> Arrays:
        """The parameters of a tree by their names, in the graph's layout."""
        arrays = self.names.arrays(params, state)
        return {name: self._turned(name, value) for name, value in arrays.items()}

    @in_own_precision
    def load(self, parameters: Arrays) -> None:
        own = {name: self._turned(name, value, back=True) for name, value in parameters.items()}
        self.params, self.state = self.names.filled(self.params, self.state, own)

    @in_own_precision
    def record(self, x: np.ndarray, training: bool) -> Arrays:
        trace, reading = self._reading(training, len(x))
        names = list(reading.values)
        wanted = [reading.values[name] for name in names]
        run = self._jitted(("record", training, len(x)), lambda: self._run(trace, wanted, training))
        values, after = run(self.params, self.state, self._own(x))
        outputs = dict(zip(names, (self._layout.to_graph(v) for v in values), strict=True))
        del outputs[INPUT]
        if not training:
            return outputs
        moved = self._named(self.params, after)
        averages = self.names.averages
        return outputs | {f"parameter:{n}": v for n, v in moved.items() if n in averages}

    def _run(self, trace: Trace, wanted: list[Any], training: bool) -> Callable[..., Any]:
        def run(params: Any, state: Any, x: Any) -> Any:
            given = dict(zip(trace.inputs, jax.tree.leaves((params, state, x)), strict=True))
            values = trace.run(given, [*wanted, *trace.outputs])
            _, after = jax.tree.unflatten(trace.tree, values[len(wanted) :])
            return values[: len(wanted)], after

        return run

    def _own(self, x: np.ndarray) -> Any:
        return jnp.asarray(self._layout.from_graph(x), self._type(x))

    def _jitted(self, key: Any, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        if key not in self._compiled:
            self._compiled[key] = jax.jit(make())
        return self._compiled[key]

    @in_own_precision
    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        trace, reading = self._reading(training, len(inputs[0]))
        node = next(node for node in reading.nodes if node.name == name)
        given = dict(zip(trace.inputs, jax.tree.leaves((self.params, self.state)), strict=False))
        for before, value in zip(node.inputs, inputs, strict=True):
            given[reading.values[before]] = self._own(value)
        made = trace.run(given, [reading.values[name]])[0]
        return self._layout.to_graph(made)

    # The data.

    @in_own_precision
    def prepare(self, images: np.ndarray, labels: np.ndarray) -> Batch:
        if self.prepares:
            x, y = prepared(self.side.extras, images, labels)
            return np.ascontiguousarray(self._layout.to_graph(x.astype(self._type(x)))), y
        shape = self._layout.shape(self.inputs.x.shape)
        if images[0].size != np.prod(shape):
            raise InputError(
                f"the network takes {shape}, which does not hold the {images[0].size} numbers of "
                "an image: give `prepare` or `data` in extras"
            )
        units = self.inputs.output.shape[-1]
        targets = default_targets(labels, self.targets, units, self.dtype)
        if targets is None:
            raise InputError(
                f"the loss takes {self.targets}, which digits are not: give `prepare` or `data` in "
                "extras"
            )
        return default_input(images, shape, self.dtype), targets

    def batches(self, count: int, epochs: int) -> list[list[Batch]] | None:
        x = coded(count, self.inputs.x.shape[1:], self.dtype)
        one = (self.inputs.output.shape[1:]) if self.targets != "classes" else ()
        y = coded(count, one, np.int64 if self.targets == "classes" else self.dtype)
        return self._batches(x, y, epochs)

    def batches_of(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        return self._batches(self._layout.from_graph(x), y, epochs)

    def _batches(self, x: np.ndarray, y: np.ndarray, epochs: int) -> list[list[Batch]] | None:
        make = self.side.extras.get("batches")
        if make is None:
            return None
        made = []
        with users_code("`batches` in extras"):
            for _ in range(epochs):
                epoch = [(np.asarray(a), np.asarray(b)) for a, b in make(x, y)]
                made.append([(self._layout.to_graph(a), b) for a, b in epoch])
        return made

    # Whole functions, and the same side in float64.

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
        trace = self._reading(True, len(self.inputs.x))[0]
        for operation in trace.needed([trace.outputs[0]]):
            before = [v for v in operation.inputs if v.constant is None and v.dtype == np.float64]
            after = operation.outputs[0].dtype
            if before and after in (np.float32, np.float16, jnp.bfloat16):
                return str(after)
        return ""

    @in_own_precision
    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        run = self._jitted(
            ("outputs", training, len(x)),
            lambda: lambda params, state, x, key: self._apply(params, state, x, training, key)[0],
        )
        results = []
        for _ in range(runs):
            self._runs += 1
            key = jax.random.key(self._runs)
            with users_code("the network"):
                y = run(self.params, self.state, self._own(x), key)
            results.append(self._layout.to_graph(y))
        return np.stack(results)

    # Training.

    @contextlib.contextmanager
    def _dropless(self) -> Iterator[None]:
        """Has the network's dropout drop nothing meanwhile."""
        with without_dropout():
            if self._users_jit:
                jax.clear_caches()
            yield
        if self._users_jit:
            jax.clear_caches()

    def _check_dropout(self) -> None:
        """Raises NotImplementedError where random numbers are drawn that cannot be left out."""
        if "draws" not in self._compiled:
            with self._dropless():
                trace = Trace(
                    lambda params, state, x: self._apply(params, state, x, True),
                    (self.params, self.state, self.inputs.x.astype(self._type(self.inputs.x))),
                    lambda *_: None,
                )
            draws = random(trace, trace.outputs[:1])
            self._compiled["draws"] = lambda: draws
        if self._compiled["draws"]():
            raise NotImplementedError("it draws random numbers in a way that cannot be left out")

    @in_own_precision
    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        y = self.inputs.target(targets, self.dtype)
        own = jnp.asarray(self._layout.from_graph(outputs), self.dtype)
        with users_code("the loss"):
            return float(self.side.loss_of(self.params, own, y))

    def _gradients(self, params: Any, state: Any, x: Any, y: Any) -> Any:
        """The loss, the state after it, and the gradients, with dropout off."""

        def loss(params: Any) -> Any:
            outputs, after = self._apply(params, state, x, True)
            return self.side.loss_of(params, outputs, y), after

        (value, after), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return value, after, gradients

    @in_own_precision
    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        self._check_dropout()
        run = self._jitted(("gradients", len(x)), lambda: self._gradients)
        with self._dropless(), users_code("the loss"):
            y = self.inputs.target(targets, self.dtype)
            value, _, gradients = run(self.params, self.state, self._own(x), y)
        named = self.names.arrays(gradients, None)
        return float(value), {n: self._turned(n, g) for n, g in named.items()}

    def _stepped(self, params: Any, moments: Any, gradients: Any) -> Any:
        import optax

        updates, moments = self.side.optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    @in_own_precision
    def updates(self, gradients: Iterable[Arrays]) -> Iterator[Arrays]:
        step = self._jitted("update", lambda: self._stepped)
        params, state = self.params, self.state
        moments = self.side.optimiser.init(params)

        def steps(params: Any, moments: Any) -> Iterator[Arrays]:
            zeros = jax.tree.map(jnp.zeros_like, params)
            for arrays in gradients:
                with jax.enable_x64(self.dtype == np.float64):
                    own = {name: self._turned(name, g, back=True) for name, g in arrays.items()}
                    given, _ = self.names.filled(zeros, state, own)
                    params, moments = step(params, moments, given)
                    after = self._named(params, state)
                yield after

        return steps(params, moments)

    @in_own_precision
    def steps(self, batches: Iterable[Batch]) -> tuple[list[float], list[Arrays]]:
        self._check_dropout()

        def make() -> Callable[..., Any]:
            def step(params: Any, state: Any, moments: Any, x: Any, y: Any) -> Any:
                value, state, gradients = self._gradients(params, state, x, y)
                return value, state, *self._stepped(params, moments, gradients)

            return step

        params, state = self.params, self.state
        moments = self.side.optimiser.init(params)
        losses, after = [], []
        with self._dropless(), users_code("a training step"):
            for x, targets in batches:
                run = self._jitted(("step", len(x)), make)
                y = self.inputs.target(targets, self.dtype)
                value, state, params, moments = run(params, state, moments, self._own(x), y)
                losses.append(float(value))
                after.append(self._named(params, state))
        return losses, after

    @in_own_precision
    def initial(self, draws: int) -> list[Arrays]:
        builds = (self._built(draw) for draw in range(1, draws + 1))
        return [self._named(build.params, build.state) for build in builds]

    def optimiser(self) -> dict[str, Any]:
        return {}  # Functions of optax do not say what they are.

    def horizon(self) -> dict[str, Any]:
        return {"steps": None, "source": ""}

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        raise NotImplementedError("optax does not say the learning rates of an optimiser")

    def settings(self) -> dict[str, str]:
        return {}


def _wide(leaf: Any) -> Any:
    floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(leaf, np.float64) if floating else leaf


@contextlib.contextmanager
def _seeds(draw: int) -> Iterator[None]:
    """Has every seed in the user's code be another one for each draw.

    JAX' code states its seeds. So two builds have the same weights, and nothing could be told of
    their distribution.
    """
    with contextlib.ExitStack() as stack:
        for name in ("key", "PRNGKey"):
            original = getattr(jax.random, name)

            def other(seed: Any, *more: Any, original: Any = original, **named: Any) -> Any:
                moved = seed + SEEDS * draw if isinstance(seed, int) else seed
                return original(moved, *more, **named)

            stack.enter_context(patch.object(jax.random, name, other))
        yield
