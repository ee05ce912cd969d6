"""Sums, products with constants, and joins."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts, Weight
from diptych.auditing.frameworks.torch.layout import LAST, by_channel, channel_axis, graph_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import BARE, PLAIN, VECTOR, named_tensors
from diptych.auditing.frameworks.torch.trace import Event

Line = Callable[[Any], tuple[Any, Any]]
"""Scale and offset, made of a constant."""


@reads("add")
def add(drafts: Drafts, event: Event, input: Any, other: Any, *, alpha: float = 1) -> bool:
    first, second = drafts.of(event, input), drafts.of(event, other)
    if isinstance(first, Activation) and isinstance(second, Activation):
        return alpha == 1 and _joined(drafts, event, "add", input, other)
    x, other = (input, other) if isinstance(first, Activation) else (other, input)
    if alpha == 1 and isinstance(other, Tensor) and _bias(drafts, event, x, other):
        return True
    if alpha == 1 and _learned(drafts, event, "learned_offset", x, offset=other):
        return True
    return _rescale(drafts, event, x, other, lambda c: (1.0, alpha * c))


@reads("sub")
def subtract(drafts: Drafts, event: Event, input: Any, other: Any, *, alpha: float = 1) -> bool:
    if isinstance(drafts.of(event, input), Activation):
        if isinstance(drafts.of(event, other), Activation):
            return alpha == 1 and _joined(drafts, event, "subtract", input, other)
        return _rescale(drafts, event, input, other, lambda c: (1.0, -alpha * c))
    return _rescale(drafts, event, other, input, lambda c: (-alpha, c))


@reads("rsub")
def subtract_from(
    drafts: Drafts, event: Event, input: Any, other: Any, *, alpha: float = 1
) -> bool:
    return alpha == 1 and _rescale(drafts, event, input, other, lambda c: (-1.0, c))


@reads("mul")
def multiply(drafts: Drafts, event: Event, input: Any, other: Any) -> bool:
    first = isinstance(drafts.of(event, input), Activation)
    x, other = (input, other) if first else (other, input)
    if isinstance(drafts.of(event, other), Activation):
        return _joined(drafts, event, "multiply", input, other)
    if _learned(drafts, event, "learned_scale", x, scale=other):
        return True
    return _rescale(drafts, event, x, other, lambda c: (c, 0.0))


@reads("div")
def divide(
    drafts: Drafts, event: Event, input: Any, other: Any, *, rounding_mode: str | None = None
) -> bool:
    if rounding_mode is not None or not isinstance(drafts.of(event, input), Activation):
        return False
    if isinstance(drafts.of(event, other), Activation):
        return _joined(drafts, event, "divide", input, other)
    return _rescale(drafts, event, input, other, lambda c: (1.0 / c, 0.0))


@reads("maximum", "minimum")
def extreme(drafts: Drafts, event: Event, input: Tensor, other: Tensor) -> bool:
    return _joined(drafts, event, event.name, input, other)


@reads("neg")
def negate(drafts: Drafts, event: Event, input: Tensor) -> bool:
    return _rescale(drafts, event, input, 1.0, lambda c: (-1.0, 0.0))


@reads("cat")
def concatenate(drafts: Drafts, event: Event, tensors: Sequence[Tensor], dim: int = 0) -> bool:
    values = [drafts.activation(event, tensor) for tensor in tensors]
    layouts = {value.layout for value in values if value is not None}
    if None in values or len(layouts) > 1:
        return False
    layout = layouts.pop()
    dimensions = tensors[0].ndim
    if dimensions < 2 or dim % dimensions == 0:
        return False
    axis = graph_axis(layout, dim, dimensions)
    axis = -1 if axis == dimensions - 1 else axis - 1
    return drafts.emit(event, "concatenate", list(tensors), layout, axis=axis)


def _joined(drafts: Drafts, event: Event, kind: str, x: Tensor, y: Tensor) -> bool:
    """Reads the combination of two values that depend on the input."""
    first, second = drafts.activation(event, x), drafts.activation(event, y)
    if first is None or second is None or first.layout != second.layout:
        return False
    same_batch = x.ndim == y.ndim and x.shape[:1] == y.shape[:1]
    return same_batch and drafts.emit(event, kind, [x, y], first.layout)


def _learned(drafts: Drafts, event: Event, kind: str, x: Any, **given: Any) -> bool:
    """Reads the sum or the product with a parameter, which is given by its role."""
    [(role, other)] = given.items()
    value, weight = drafts.activation(event, x), drafts.of(event, other)
    if value is None or not isinstance(weight, Weight) or weight.view != "whole":
        return False
    spread = [1] * (x.ndim - other.ndim) + list(other.shape)
    fits = len(spread) == x.ndim and spread[0] == 1
    if not fits or set(weight.sources) <= drafts.buffers:
        return False
    if by_channel(other, value.layout, x.ndim):
        turn = PLAIN if other.ndim == 1 else VECTOR
    elif value.layout == LAST:
        turn = BARE
    else:
        return False
    parameters = drafts.roles(event, **{role: (other, turn)})
    if parameters is None or drafts.trace.copies[event.outputs[0]].shape != x.shape:
        return False
    return drafts.emit(event, kind, [x], value.layout, parameters)


def _bias(drafts: Drafts, event: Event, x: Tensor, other: Tensor) -> bool:
    """Makes the addition of a parameter the bias of the layer that gave ``x``."""
    weight = drafts.of(event, other)
    index = drafts.joinable(event, x, "dense", "conv", "conv_transpose")
    if index is None or not isinstance(weight, Weight):
        return False
    draft = drafts.drafts[index]
    usable = len(weight.sources) == 1 and weight.view in ("whole", "spread")
    if "bias" in draft.parameters or not usable:
        return False
    name = weight.sources[0]
    turn = PLAIN if named_tensors(drafts.trace.module)[name].ndim == 1 else VECTOR
    units = x.shape[channel_axis(draft.layout, x.ndim)]
    if other.numel() != units or not by_channel(other, draft.layout, x.ndim):
        return False
    if drafts.turns.get(name, turn) != turn:
        return False
    drafts.turns[name] = turn
    return drafts.merge(event, index, parameters=draft.parameters | {"bias": name})


def _rescale(drafts: Drafts, event: Event, x: Any, constant: Any, line: Line) -> bool:
    """Reads ``scale * x + offset`` where ``line`` makes the two of a constant."""
    value = drafts.activation(event, x)
    if value is None:
        return False
    number = _constant(drafts, event, constant, value.layout, x.ndim)
    if number is None:
        return False
    scale, offset = (np.asarray(part, np.float64) for part in line(number))
    index = drafts.joinable(event, x, "rescale")
    if index is not None:
        before = drafts.drafts[index].attributes
        scale, offset = scale * before["scale"], scale * before["offset"] + offset
    attributes = {"scale": scale.tolist(), "offset": offset.tolist()}
    if index is not None:
        return drafts.merge(event, index, attributes=attributes)
    return drafts.emit(event, "rescale", [x], value.layout, **attributes)


def _constant(
    drafts: Drafts, event: Event, constant: Any, layout: str, dimensions: int
) -> np.ndarray | None:
    """A number, or one for each channel, that neither the input nor training changes."""
    if isinstance(constant, (int, float)):
        return np.asarray(constant, np.float64)
    if not isinstance(constant, Tensor):
        return None
    value = drafts.of(event, constant)
    names = set(value.sources) if isinstance(value, Weight) else set()
    if isinstance(value, Activation) or names - drafts.buffers:
        return None
    if constant.numel() > 1 and not by_channel(constant, layout, dimensions):
        return None
    drafts.constants |= names
    numbers = constant.detach().cpu().double().numpy()
    return numbers.reshape(() if numbers.size == 1 else -1)
