"""The readers of operations, by the names of JAX' primitives."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.trace import Operation
from diptych.readers import Readers

if TYPE_CHECKING:
    from diptych.auditing.frameworks.jax.reader import Reader

Answer = NodeDraft | bool | None
"""A node; True where the reader has changed a node that is there; None where it knows nothing."""
reads: Readers[Callable[["Reader", Operation], Answer]] = Readers()
ALIASES = ("convert_element_type", "stop_gradient", "copy", "copy_p", "reduce_precision")
"""Operations that leave numbers as they are, or round them."""
ELEMENTWISE = {
    *("abs", "add", "and", "cbrt", "ceil", "clamp", "div", "eq", "erf", "erf_inv", "exp", "exp2"),
    *("expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "logistic"),
    *("lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow", "rsqrt", "select_n", "sign"),
    *("sqrt", "square", "sub", "tanh", "convert_element_type", "stop_gradient", "copy"),
}
"""Operations that make each number of the numbers at the same place."""


def read(reader: "Reader", operation: Operation) -> Answer:
    """The node of an operation, from its reader."""
    if operation.label:
        function, slope = operation.label
        return NodeDraft("activation", {"function": function, "slope": slope})
    function = reads.get(operation.name)
    return function(reader, operation) if function else None
