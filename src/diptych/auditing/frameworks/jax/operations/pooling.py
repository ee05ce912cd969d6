"""Pools over windows, and over all of an image."""

import math
from typing import Any

import numpy as np

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation, Value


def _window(reader, operation: Operation) -> dict[str, Any] | None:
    params = operation.params
    rank = len(operation.outputs[0].shape)
    inside = slice(2, rank) if reader.layout.first else slice(1, rank - 1)
    plain = ("window_dilation", "base_dilation")
    if any(step != 1 for name in plain for step in params[name]):
        return None
    size, strides = params["window_dimensions"], params["window_strides"]
    if math.prod(size) != math.prod(size[inside]):
        return None
    return {
        "size": list(size[inside]),
        "strides": list(strides[inside]),
        "padding": [list(pixels) for pixels in params["padding"][inside]],
    }


@reads("reduce_window_max")
def max_pool(reader, operation: Operation) -> NodeDraft | None:
    attributes = _window(reader, operation)
    return NodeDraft("max_pool", attributes) if attributes else None


@reads("reduce_window_sum")
def window_sum(reader, operation: Operation) -> bool | None:
    """The sum of windows, which is an average once it is divided."""
    attributes = _window(reader, operation)
    if attributes is None or operation.inputs[0] not in reader.makers | reader.pending:
        return None
    reader.sums[operation.outputs[0]] = operation.inputs[0], attributes
    return True


@reads("reduce_sum", "reduce_max")
def over_everything(reader, operation: Operation) -> NodeDraft | bool | None:
    rank = len(operation.inputs[0].shape)
    inside = range(2, rank) if reader.layout.first else range(1, rank - 1)
    if rank < 3 or tuple(operation.params["axes"]) != tuple(inside):
        return None
    if operation.name == "reduce_max":
        return NodeDraft("global_max_pool")
    reader.sums[operation.outputs[0]] = operation.inputs[0], None
    return True


@reads("div", "mul")
def average(reader, operation: Operation) -> bool | None:
    """An average pool: sums of windows by the numbers in them."""
    total, count = operation.inputs
    if total not in reader.sums or not reader.fixed(count) or reader.trace_depends(count):
        return None
    x, attributes = reader.sums[total]
    number = _constant(reader, count)
    number = number if operation.name == "div" else 1 / number
    if attributes is None:
        pixels = math.prod(x.shape[2:] if reader.layout.first else x.shape[1:-1])
        draft = NodeDraft("global_average_pool")
        fits = np.allclose(number, pixels, rtol=1e-6)
    else:
        whole = math.prod(attributes["size"])
        fits = bool(np.allclose(number.max(), whole, rtol=1e-6))
        draft = NodeDraft("average_pool", attributes | {"count_padding": number.size == 1})
    if not fits:
        return None
    del reader.sums[total]
    reader.add(operation.outputs[0], [x], draft)
    return True


def _constant(reader, value: Value) -> np.ndarray:
    return np.asarray(reader.trace.run({}, [value])[0], np.float64)
