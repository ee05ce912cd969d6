"""Convolutions."""

from diptych.auditing.frameworks.jax.operations.drafts import NodeDraft
from diptych.auditing.frameworks.jax.operations.registry import reads
from diptych.auditing.frameworks.jax.trace import Operation


@reads("conv_general_dilated")
def convolution(reader, operation: Operation) -> NodeDraft | None:
    params = operation.params
    found = reader.parameter(operation.inputs[1])
    if found is None or any(step != 1 for step in params["lhs_dilation"]):
        return None
    numbers = params["dimension_numbers"]
    channels = 1 if reader.layout.first else len(numbers.lhs_spec) - 1
    if params["batch_group_count"] != 1 or numbers.lhs_spec[:2] != (0, channels):
        return None
    name, turn = found
    outputs, inputs, *window = numbers.rhs_spec
    turn = turn.transposed((*window, inputs, outputs))
    if turn is None:
        return None
    attributes = {
        "strides": list(params["window_strides"]),
        "padding": [list(pixels) for pixels in params["padding"]],
        "dilation": list(params["rhs_dilation"]),
        "groups": params["feature_group_count"],
    }
    return NodeDraft("conv", attributes, {"kernel": name}, {name: turn})
