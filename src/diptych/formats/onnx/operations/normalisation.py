"""Normalisations."""

from typing import Any

import numpy as np

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


@reads("LayerNormalization")
def layer_normalisation(
    operation: Operation, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__LayerNormalization.html"""
    view = operation.view()
    roles = {"gamma": 1, "beta": 2} if operation.takes(2) else {"gamma": 1}
    if view is None or any(operation.constant(i) is None for i in roles.values()):
        return False
    over = view.axes[axis % len(view.axes) :]
    axes = [each for each in over if each]
    if len(axes) < len(over):
        return False
    rank, order = len(view.shape) + 1, tuple(int(i) for i in np.argsort(axes))
    return operation.emit(
        "layer_norm",
        [view],
        view.axes,
        view.shape,
        parameters={role: operation.weight(i, order) for role, i in roles.items()},
        epsilon=as_written(epsilon),
        axes=[each - rank for each in sorted(axes)],
    )
