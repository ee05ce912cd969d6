"""Dense layers, and products with matrices of parameters."""

from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Drafts, Weight
from diptych.auditing.frameworks.torch.layout import LAST, TIME
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import MATRIX, PLAIN
from diptych.auditing.frameworks.torch.trace import Event


@reads("linear")
def linear(
    drafts: Drafts, event: Event, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> bool:
    return _product(drafts, event, input, weight, bias, from_units=True)


@reads("matmul")
def matmul(drafts: Drafts, event: Event, input: Tensor, other: Tensor) -> bool:
    values = [drafts.activation(event, tensor) for tensor in (input, other)]
    if all(value is not None and value.layout == LAST for value in values):
        fits = input.ndim == other.ndim > 2
        return fits and drafts.emit(event, "matmul", [input, other], LAST)
    return _product(drafts, event, input, other, None, from_units=False)


@reads("addmm")
def addmm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> bool:
    plain = (beta, alpha) == (1, 1)
    return plain and _product(drafts, event, mat1, mat2, input, from_units=False)


def _product(
    drafts: Drafts, event: Event, x: Any, weight: Any, bias: Any, from_units: bool
) -> bool:
    """Reads a product with a matrix that is (units, inputs), or else (inputs, units)."""
    value, matrix = drafts.activation(event, x), drafts.of(event, weight)
    if value is None or value.layout not in (LAST, TIME):
        return False
    if not isinstance(matrix, Weight):
        return False
    if weight.ndim != 2 or matrix.view not in ("whole", "turned"):
        return False
    turn = MATRIX if from_units != (matrix.view == "turned") else PLAIN
    name = matrix.sources[0]
    parameters = drafts.roles(event, bias=(bias, PLAIN))
    if parameters is None or drafts.turns.get(name, turn) != turn:
        return False
    drafts.turns[name] = turn
    return drafts.emit(event, "dense", [x], value.layout, {"kernel": name} | parameters)
