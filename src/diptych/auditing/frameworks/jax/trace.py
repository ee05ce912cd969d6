"""A traced function as a list of operations, which can be computed up to any of its numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.core import eval_jaxpr  # pyright: ignore[reportAttributeAccessIssue]
from jax.extend.core import Literal

from diptych.auditing.frameworks.jax.marks import mark
from diptych.auditing.frameworks.users import is_users, place

INLINED = ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint", "custom_jvp_call")
INLINED += ("custom_vjp_call", "custom_vjp_call_jaxpr")
"""Operations that only call another function."""


class Value:
    """A number, or an array of them, that the traced function has."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, constant: Any = None) -> None:
        self.shape, self.dtype, self.constant = shape, dtype, constant

    @classmethod
    def like(cls, variable: Any) -> "Value":
        """An unknown value of a variable's shape."""
        return cls(tuple(variable.aval.shape), variable.aval.dtype)


@dataclass
class Operation:
    """One operation, or a call that is an activation."""

    name: str
    inputs: list[Value]
    outputs: list[Value]
    compute: Callable[..., Sequence[Any]]
    params: dict[str, Any] = field(default_factory=dict)
    label: tuple[str, float | None] | None = None
    """The activation that a call is, and its slope."""
    where: str | None = None
    """The line of the user's code, as ``file.py:12``."""


def line_of(equation: Any) -> str | None:
    """The innermost line of the user's code that an equation comes from."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if is_users(frame.file_name):
            return place(frame.file_name, frame.line_num)
    return None


class Trace:
    """A function's operations in the order in which they run."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], labels: Callable[..., Any]
    ) -> None:
        """Traces the function.

        Args:
            function: of the arguments.
            arguments: pytrees of arrays, or of their shapes.
            labels: what a call is, by its function and its one operand's shape and type.
        """
        self.labels = labels
        self.marks_inside = False
        """True if layers are marked in functions that the user's code has compiled."""
        self.operations: list[Operation] = []
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        self.tree = jax.tree.structure(shapes)
        self.inputs = [Value.like(variable) for variable in closed.jaxpr.invars]
        self.outputs = self._inline(closed.jaxpr, closed.consts, self.inputs)

    def _inline(self, jaxpr: Any, consts: Any, inputs: list[Value]) -> list[Value]:
        known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, constant in zip(jaxpr.constvars, consts, strict=True):
            known[variable] = Value(tuple(constant.shape), constant.dtype, constant)

        def value(atom: Any) -> Value:
            if isinstance(atom, Literal):
                return Value(tuple(np.shape(atom.val)), atom.aval.dtype, atom.val)  # pyright: ignore[reportAttributeAccessIssue]
            return known[atom]

        for equation in jaxpr.eqns:
            operands = [value(atom) for atom in equation.invars]
            results = self._results(equation, operands)
            known |= dict(zip(equation.outvars, results, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _results(self, equation: Any, operands: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if equation.primitive is mark:
            made = Value(operands[0].shape, operands[0].dtype)
            self.operations.append(
                Operation(
                    name,
                    operands,
                    [made],
                    lambda y, *_: [y],
                    equation.params,
                    None,
                    line_of(equation),
                )
            )
            return [made]
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if name in INLINED and inner is not None:
            jaxpr, consts = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
            label = self._label(jaxpr, consts, operands)
            if label is None:
                inside = any(equation.primitive is mark for equation in jaxpr.eqns)
                self.marks_inside = self.marks_inside or inside
                return self._inline(jaxpr, consts, operands)
            made = [Value.like(variable) for variable in jaxpr.outvars]

            def compute(*values: Any) -> Any:
                return eval_jaxpr(jaxpr, consts, *values)

            self.operations.append(
                Operation(name, operands, made, compute, {}, label, line_of(equation))
            )
            return made

        def bind(*values: Any) -> Any:
            params = equation.primitive.get_bind_params(equation.params)
            result = equation.primitive.bind(*values, **params)
            return result if equation.primitive.multiple_results else [result]

        made = [Value.like(variable) for variable in equation.outvars]
        self.operations.append(
            Operation(name, operands, made, bind, equation.params, None, line_of(equation))
        )
        return made

    def _label(self, jaxpr: Any, consts: Any, operands: list[Value]) -> Any:
        """The activation that a call of one array is."""
        arrays = [operand for operand in operands if operand.constant is None]
        if len(arrays) != 1 or len(jaxpr.outvars) != 1 or "random" in str(jaxpr):
            return None
        if tuple(jaxpr.outvars[0].aval.shape) != arrays[0].shape:
            return None

        def function(x: Any) -> Any:
            given = [x if operand.constant is None else operand.constant for operand in operands]
            return eval_jaxpr(jaxpr, consts, *given)[0]

        return self.labels(function, arrays[0].shape, arrays[0].dtype)

    def run(self, given: dict[Value, Any], wanted: Sequence[Value]) -> list[Any]:
        """Computes the wanted values from given ones; only what they depend on is computed."""
        values = dict(given)
        for operation in self.needed(wanted, given):
            operands = [
                value.constant if value.constant is not None else values[value]
                for value in operation.inputs
            ]
            results = operation.compute(*operands)
            for value, result in zip(operation.outputs, results, strict=True):
                values.setdefault(value, result)
        return [v.constant if v.constant is not None else values[v] for v in wanted]

    def needed(
        self, wanted: Sequence[Value], given: Any = (), around_marks: bool = False
    ) -> list[Operation]:
        """The operations that values depend on, in their order.

        Args:
            wanted: the values.
            given: what is known and need not be computed.
            around_marks: pass over what a marked layer is made of.
        """
        missing, operations = {v for v in wanted if v not in given}, []
        for operation in reversed(self.operations):
            if missing.intersection(operation.outputs):
                operations.append(operation)
                skip = around_marks and operation.name == mark.name
                inputs = operation.inputs[1:] if skip else operation.inputs
                missing.update(value for value in inputs if value not in given)
        return operations[::-1]
