"""Sums, concatenations, and sums and products with numbers."""

from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.layer_classes import public_class


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


LAYERS = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Average": "average",
}
"""Layers that combine their inputs number by number, and the graph's names of them."""


@reads(*LAYERS)
def combination(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return joined(LAYERS[public_class(layer).__name__], call)


def joined(kind: str, call: ShapedCall) -> NodeDraft | None:
    """Drafts the combination of several inputs with as many axes."""
    alike = len(call.inputs) > 1 and {len(shape) for shape in call.inputs} == {len(call.shape)}
    return draft(kind) if alike else None


@reads("LayerScale")
def layer_scale(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return None if call.channels_first else draft("learned_scale", {"scale": layer.gamma})


@reads("ops.Maximum", "ops.Minimum")
def extreme(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if len(call.inputs) == 1:
        return limited(operation, call)
    return joined(type(operation).__name__.lower(), call)


def limited(operation: Any, call: ShapedCall) -> NodeDraft | None:
    """Drafts the larger or the smaller of a number and each of the input's."""
    limits = [number(argument) for argument in call.arguments.args]
    limit = next((limit for limit in limits if limit is not None), None)
    if limit is None or len(limits) != 2:
        return None
    bounds = [limit, None] if type(operation).__name__ == "Maximum" else [None, limit]
    return draft("activation", function="clip", slope=None, limits=bounds)


@reads("ops.Matmul")
def matmul(operation: Any, call: ShapedCall) -> NodeDraft | None:
    ranks = {len(shape) for shape in (*call.inputs, call.shape)}
    alike = len(call.inputs) == 2 and len(ranks) == 1 and ranks.pop() > 1
    return draft("matmul") if alike and not call.channels_first else None


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
    if len(call.inputs) == 2:
        return joined("multiply", call)
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)] | [float(value), None]:
            return draft("rescale", scale=value, offset=0.0)
    return None


@reads("ops.TrueDivide", "ops.Divide")
def quotient(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if len(call.inputs) == 2:
        return joined("divide", call)
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)]:
            return draft("rescale", scale=1 / value, offset=0.0)
    return None


@reads("ops.Add")
def total(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if len(call.inputs) == 2:
        return joined("add", call)
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)] | [float(value), None]:
            return draft("rescale", scale=1.0, offset=value)
    return None


@reads("ops.Subtract")
def difference(operation: Any, call: ShapedCall) -> NodeDraft | None:
    if len(call.inputs) == 2:
        return joined("subtract", call)
    match [number(argument) for argument in call.arguments.args]:
        case [None, float(value)]:
            return draft("rescale", scale=1.0, offset=-value)
        case [float(value), None]:
            return draft("rescale", scale=-1.0, offset=value)
    return None
