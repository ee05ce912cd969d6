"""A side of low-level TensorFlow in float64: what its functions mean, apart from rounding.

The user's object is left as it is. Its functions are traced, and what runs is their graphs in
float64 (`widening`), on float64 variables that stand for its own.
"""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.python_state import fingerprint
from diptych.auditing.frameworks.tensorflow.submission import Submission
from diptych.auditing.frameworks.tensorflow.trace import as_type, inlined
from diptych.auditing.frameworks.tensorflow.widening import Widened, exact_constants, exact_numbers
from diptych.auditing.graph import Arrays

Tensor = Any
Types = tuple[tf.DType, tf.DType]

UNABLE = (
    *(tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.UnimplementedError),
    *(AttributeError, LookupError, NotImplementedError, TypeError, ValueError),
)
"""The exceptions of TensorFlow if a function cannot be traced, or not run in float64."""


class DoubleSubmission:
    """A submission in float64, with the attributes and methods of `Submission`.

    Args:
        own: the user's object; none of its float variables is ever written.
        types: the types of x and y that its functions take.
    """

    def __init__(self, own: Submission, types: Types) -> None:
        self.own, self.types = own, types
        self.returned = own.returned
        self.shadows: dict[int, tuple[tf.Variable, tf.Variable, np.ndarray]] = {}
        """Each variable of the user, its replacement, and its first value."""
        self.whole: dict[int, tuple[tf.Variable, np.ndarray]] = {}
        """Variables of whole numbers that a step has, with their values before the first step."""
        self.holders: dict[str, tf.Variable] = {}
        self.asked: list[str] = []
        """The variables whose gradients its steps have asked for."""
        self.compiled: dict[tuple, Any] = {}
        self.steps_by_shape: dict[tuple, Any] = {}
        """Steps that were traced once for all, by the shapes of x and y."""
        self.state: str | None = None
        """Of what its Python can reach, after the step that was traced last."""
        self.counters: list[tf.Variable] = []
        """The integers that its loss has read."""
        self.variables = {
            name: self.shadow(variable, exact=True) if variable.dtype.is_floating else variable
            for name, variable in own.variables.items()
        }
        self.watched = own.watched
        self.data = own.data and tuple(map(widened, own.data))
        self.batches = own.batches
        self.prepare = own.prepare and self.prepared
        self.logits = own.logits and self.infer

    @property
    def prepares(self) -> bool:
        return self.own.prepares

    @property
    def counts_in_python(self) -> bool:
        """False where the object says by ``counts_in_python = False`` that its Python does the same
        in each step."""
        return bool(getattr(self.own.returned, "counts_in_python", True))

    def put_back(self) -> None:
        """Puts all variables back to where they were before the first step."""
        for _, double, value in self.shadows.values():
            double.assign(value)
        for variable, value in self.whole.values():
            variable.assign(value)

    def extra(self, name: str) -> Any:
        return self.own.extra(name)

    def prepared(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self.own.prepare is not None
        x, y = self.own.prepare(images, labels)
        return widened(x), widened(y)

    def load(self, values: Arrays) -> None:
        """Assigns values in TensorFlow's own layout."""
        for name, value in values.items():
            variable = self.variables[name]
            variable.assign(as_type(value.reshape(variable.shape), variable.dtype))

    def shadow(self, variable: tf.Variable, exact: bool = False) -> tf.Variable:
        """The float64 variable that stands for one of the user's.

        It starts from the same value where that is exact, and from what it was written as (a
        learning rate of 0.001) where it is no parameter of the network.
        """
        key = id(variable.handle)
        if key not in self.shadows:
            with tf.init_scope():
                value = tf.cast(variable, tf.float32).numpy()
                value = value.astype(np.float64) if exact else exact_numbers(value)
                double = tf.Variable(value, trainable=variable.trainable, dtype=tf.float64)
            self.shadows[key] = (variable, double, value)  # Both, so that the key stays theirs.
        return self.shadows[key][1]

    # What is traced.

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.flat(self.own.loss, x, y)

    def infer(self, x: Tensor) -> Tensor:
        return self.flat(self.own.logits, x)

    def loss_and_gradients(
        self, names: list[str], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its gradients, derived before the types change: functions may have
        gradients of their own."""
        return self.flat(lambda x, y: self.own.loss_and_gradients(names, x, y), x, y)

    def flat(self, function: Callable[..., Any], *arguments: Tensor) -> Any:
        """A function's result in float64, in the graph that is being traced."""
        with explained(), exact_constants(), inlined():
            wrapped = tf.compat.v1.wrap_function(function, self.specs(*arguments))
            self.counters = counters(wrapped.graph, self.own.variables)
            result = wrapped.structured_outputs
            function = Widened(wrapped.graph, tf.nest.flatten(result), self.shadow)
            return tf.nest.pack_sequence_as(result, function(*arguments))

    def specs(self, *arguments: Tensor) -> list[tf.TensorSpec]:
        named = zip(("x", "y"), arguments, self.types, strict=False)
        return [tf.TensorSpec(each.shape, dtype, name=name) for name, each, dtype in named]

    # What is run.

    def step(self, x: Tensor, y: Tensor) -> Any:
        """One step of the user's training, in float64; what it returns (None where nothing).

        A step is traced each time, since its Python may count, until a step leaves all that its
        Python can reach as it was.

        Raises:
            NotImplementedError: it cannot be traced, or something in it is float32 alone.
        """
        shapes = (tuple(x.shape), tuple(y.shape))
        if shapes in self.steps_by_shape:
            values = self.steps_by_shape[shapes](x, y)
            return values[0] if values else None
        with explained():
            with exact_constants():
                graph = tf.function(self.own.returned.step).get_concrete_function(*self.specs(x, y))
            for variable in graph.graph.variables:
                if not variable.dtype.is_floating and variable.dtype != tf.resource:
                    self.whole.setdefault(id(variable), (variable, variable.numpy()))
            results = tf.nest.flatten(graph.structured_outputs, expand_composites=True)
            results = [each for each in results if isinstance(each, tf.Tensor)]
            function = Widened(graph.graph, results, self.shadow)
            again = function.key in self.compiled
            if not again:
                wide = [tf.TensorSpec(each.shape, each.dtype) for each in (x, y)]
                compiled = tf.function(lambda *xy: function(*xy), autograph=False)
                self.compiled[function.key] = compiled.get_concrete_function(*wide)
            values = self.compiled[function.key](x, y)
            if self.is_settled(again):
                self.steps_by_shape[shapes] = self.compiled[function.key]
        return values[0] if values else None

    def is_settled(self, again: bool) -> bool:
        """True where the step that was just traced will be the same from now on.

        Args:
            again: whether an earlier one was the same.
        """
        if not self.counts_in_python:
            return True
        before, self.state = self.state, fingerprint(self.own.returned)
        if self.state is None or self.state != before:
            self.steps_by_shape.clear()
            return False
        return again

    def holder(self, name: str) -> tf.Variable:
        """A variable for the gradient that a step is to take for that of another variable."""
        if name not in self.holders:
            self.holders[name] = self.own.holder(name)
        return self.holders[name]

    def hold(self, holder: tf.Variable, value: Tensor) -> None:
        """Puts the gradient there."""
        self.shadow(holder).assign(tf.cast(value, tf.float64))


def counters(graph: Any, variables: dict[str, tf.Variable]) -> list[tf.Variable]:
    """The variables that a traced function reads which are single whole numbers, apart from the
    network's own."""
    own = {id(variable) for variable in variables.values()}
    return [
        variable
        for variable in graph.variables
        if variable.dtype.is_integer and variable.shape.rank == 0 and id(variable) not in own
    ]


def widened(values: Any) -> np.ndarray:
    """Floats as float64; others as they are."""
    array = np.array(values)
    return array.astype(np.float64) if array.dtype.kind not in "iub" else array


@contextmanager
def explained() -> Iterator[None]:
    """Makes what TensorFlow raises around a function in float64 one reason in one line."""
    try:
        yield
    except NotImplementedError as problem:
        raise NotImplementedError(str(problem)) from None
    except UNABLE as problem:
        lines = [line.strip() for line in str(problem).splitlines()]
        lines = [line for line in lines if line and not line.startswith("[[")]
        lines = lines or [type(problem).__name__]
        below = lines[0].startswith(("in user code", "Graph execution error"))
        raise NotImplementedError(
            f"its graph cannot be computed in float64: {lines[-1 if below else 0]}"
        ) from problem
