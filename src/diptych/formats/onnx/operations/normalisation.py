"""Normalisations."""

from typing import Any

from diptych.formats.onnx.operation import Operation, as_written, reads

ROLES = ("gamma", "beta", "mean", "variance")


@reads("BatchNormalization")
def batch_normalisation(
    operation: Operation,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    **older: Any,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__BatchNormalization.html"""
    if any(operation.constant(position) is None for position in range(1, 5)):
        return False
    view, _ = operation.channels_first()
    return operation.emit(
        "batch_norm",
        [view],
        view.axes,
        parameters={role: operation.weight(i) for i, role in enumerate(ROLES, 1)},
        epsilon=as_written(epsilon),
        momentum=as_written(momentum),
        unbiased=False,
        statistics="batch",
    )
