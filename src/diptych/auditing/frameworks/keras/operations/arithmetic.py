"""Sums, concatenations, and sums and products with numbers."""

from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


def by_channel(numbers: Any) -> float | list[float]:
    """One number, or a list of them, from whatever a layer keeps."""
    array = np.asarray(numbers, np.float64).squeeze()
    return float(array) if array.ndim == 0 else array.tolist()


@reads("Rescaling")
def rescaling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    sizes = [np.shape(layer.scale), np.shape(layer.offset)]
    turned = call.channels_first and keras.config.image_data_format() != "channels_first"
    if any(size not in ((), call.inputs[0][-1:]) or (size and turned) for size in sizes):
        return None
    return draft("rescale", scale=by_channel(layer.scale), offset=by_channel(layer.offset))


@reads("Add")
def addition(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return draft("add") if set(call.inputs) == {call.shape} else None


@reads("Concatenate", "ops.Concatenate")
def concatenation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if call.is_channel_axis(layer.axis):
        return draft("concatenate", axis=-1)
    axis = call.graph_axis(layer.axis)
    return None if axis < 0 else draft("concatenate", axis=axis)


def number(argument: Any) -> float | None:
    """An argument of an operation if it is a number."""
    return float(argument) if isinstance(argument, int | float | np.number) else None


@reads("ops.Multiply")
def product(operation: Any, call: ShapedCall) -> NodeDraft | None:
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)] | [float(value), None]:
            return draft("rescale", scale=value, offset=0.0)
    return None


@reads("ops.TrueDivide", "ops.Divide")
def quotient(operation: Any, call: ShapedCall) -> NodeDraft | None:
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)]:
            return draft("rescale", scale=1 / value, offset=0.0)
    return None


@reads("ops.Add")
def total(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if len(call.inputs) == 2:
        return addition(operation, call)
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)] | [float(value), None]:
            return draft("rescale", scale=1.0, offset=value)
    return None


@reads("ops.Subtract")
def difference(operation: Any, call: ShapedCall) -> NodeDraft | None:
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)]:
            return draft("rescale", scale=1.0, offset=-value)
        case [float(value), None]:
            return draft("rescale", scale=-1.0, offset=value)
    return None
