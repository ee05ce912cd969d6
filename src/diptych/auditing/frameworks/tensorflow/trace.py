"""Traces of functions: their graphs of operations, and values in them."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.users import is_users, place
from diptych.errors import InputError

Operation = Any
Tensor = Any

SHAPE_ONLY = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}
"""Operations that look at a tensor's shape and not at its numbers."""
READS = {"ReadVariableOp", "Identity", "Cast"}
"""Operations that give a variable's value on."""


@contextlib.contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Puts other values in the place of attributes, for a while."""
    before = [getattr(owner, name) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(changes, before, strict=True):
            setattr(owner, name, value)


def inlined() -> Any:
    """Has every ``tf.function`` run as plain (converted) Python, so that one graph holds it all."""
    autograph = tf.__internal__.autograph

    def call(function: Any, *arguments: Any, **named: Any) -> Any:
        convert = autograph.tf_convert(function.python_function, autograph.control_status_ctx())
        return convert(*arguments, **named)

    return patched((type(tf.function(lambda: None)), "__call__", call))


def without_dropout() -> Any:
    """Has TensorFlow's dropout drop nothing in whatever is traced or run for the first time."""

    def keep(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return tf.convert_to_tensor(x)

    return patched(
        (tf.nn, "dropout", keep),
        (tf.nn.experimental, "stateless_dropout", keep),
        (tf.nn.experimental, "general_dropout", keep),
        (tf.compat.v1.nn, "dropout", keep),
    )


class Trace:
    """A function's graph of operations for one size of batch, and its values."""

    def __init__(
        self, function: Callable, specs: list[tf.TensorSpec], variables: dict[str, tf.Variable]
    ) -> None:
        named = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in zip(("x", "y"), specs, strict=False)
        ]
        with inlined():
            self.wrapped = tf.compat.v1.wrap_function(function, named)
        self.graph = self.wrapped.graph
        self.operations: list[Operation] = self.graph.get_operations()
        self.x, *self.y = (self.graph.inputs[i] for i in range(len(specs)))
        self.result = self.wrapped.structured_outputs
        handles = {id(variable.handle): name for name, variable in variables.items()}
        self.variables = {
            inner.op.name: handles[id(outer)]
            for outer, inner in self.graph.captures
            if id(outer) in handles
        }
        self.pruned: dict[tuple, Any] = {}
        self.handles = set(handles)

    def check_variables(self) -> None:
        """Raises InputError where a variable is read that is not among the object's."""
        captured = {id(outer) for outer, _ in self.graph.captures}
        for variable in self.graph.variables:
            handle = id(variable.handle)
            if handle in captured - self.handles and variable.dtype.is_floating:
                raise InputError(
                    f"its network reads a tf.Variable ({variable.name}, shape "
                    f"{tuple(variable.shape)}) that is not among its variables: add it to them"
                )

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name, such as ``MatMul:0``."""
        return self.graph.get_tensor_by_name(name)

    def run(self, feeds: dict[str, Any], fetches: list[str]) -> list[Tensor]:
        """The values of some tensors where others are given; both by their names."""
        key = (*feeds, "->", *fetches)
        if key not in self.pruned:
            self.pruned[key] = self.wrapped.prune(
                [self.tensor(name) for name in feeds],
                [self.tensor(name) for name in fetches if name not in feeds],
            )
        given = {name: as_type(value, self.tensor(name).dtype) for name, value in feeds.items()}
        found = iter(self.pruned[key](*given.values()))
        return [given[name] if name in given else next(found) for name in fetches]

    def depending(self, tensor: Tensor) -> set[str]:
        """The names of the operations whose values (not whose shapes alone) depend on a tensor."""
        found = {tensor.op.name}
        for operation in self.operations:
            if operation.type not in SHAPE_ONLY and any(
                source.op.name in found for source in operation.inputs
            ):
                found.add(operation.name)
        return found

    @cached_property
    def on_x(self) -> set[str]:
        """The operations that depend on x."""
        return self.depending(self.x)

    @cached_property
    def on_y(self) -> set[str]:
        """The operations that depend on the targets."""
        return self.depending(self.y[0]) if self.y else set()

    def sources(self, operation: Operation) -> list[Tensor]:
        """An operation's inputs that depend on x, each once."""
        if operation.type in SHAPE_ONLY:
            return []
        tensors = {tensor.name: tensor for tensor in operation.inputs}
        return [tensor for tensor in tensors.values() if tensor.op.name in self.on_x]

    def ancestors(self, tensors: list[Tensor]) -> set[str]:
        """The names of all operations that some tensors are made by."""
        found: set[str] = set()
        waiting = [tensor.op for tensor in tensors]
        while waiting:
            operation = waiting.pop()
            if operation.name not in found:
                found.add(operation.name)
                waiting += [tensor.op for tensor in operation.inputs]
        return found

    def aside(self, operations: list[Operation]) -> list[Operation]:
        """The operations that feed the given ones and do not depend on x: parameters, constants."""
        beside = [
            tensor
            for operation in operations
            for tensor in operation.inputs
            if tensor.op.name not in self.on_x
        ]
        found = self.ancestors(beside)
        return [operation for operation in self.operations if operation.name in found]

    def variable(self, tensor: Tensor) -> str | None:
        """The name of the variable whose value a tensor is, if it is nothing but that."""
        operation = tensor.op
        while operation.type in READS or operation.type == "ExpandDims":
            operation = operation.inputs[0].op
        return self.variables.get(operation.name)

    def variables_of(self, operations: list[Operation]) -> list[str]:
        """The names of the variables that go into some operations, beside what depends on x."""
        found = [self.variables.get(operation.name) for operation in self.aside(operations)]
        return [name for name in found if name]


def where(operation: Operation) -> str | None:
    """The innermost line of the user's code that made an operation, as ``file.py:12``."""
    for frame in reversed(operation.traceback):
        if is_users(frame.filename):
            return place(frame.filename, frame.lineno)
    return None


def as_type(value: Any, dtype: tf.DType) -> Tensor:
    """A value as a tensor of that type; whole numbers are rounded to, not cut down to."""
    if dtype.is_integer and isinstance(value, np.ndarray):
        value = np.rint(value)
    return tf.cast(value, dtype)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy as float32, or as float64 where TensorFlow computes in it."""
    array = tensor.numpy() if isinstance(tensor, tf.Tensor) else np.array(tensor)
    return array if array.dtype == np.float64 else array.astype(np.float32)
