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
    roles = {"gamma": 1, "beta": 2} if operation.takes(2) else {"gamma": 1}
    return _over_last_axes(operation, "layer_norm", roles, axis, epsilon)


def _over_last_axes(
    operation: Operation, kind: str, roles: dict[str, int], axis: int, epsilon: float
) -> bool:
    view = operation.view()
    if view is None or any(operation.constant(i) is None for i in roles.values()):
        return False
    over = view.axes[axis % len(view.axes) :]
    axes = [each for each in over if each]
    if len(axes) < len(over):
        return False
    rank, order = len(view.shape) + 1, tuple(int(i) for i in np.argsort(axes))
    return operation.emit(
        kind,
        [view],
        view.axes,
        view.shape,
        parameters={role: operation.weight(i, order) for role, i in roles.items()},
        epsilon=as_written(epsilon),
        axes=[each - rank for each in sorted(axes)],
    )


@reads("RMSNormalization")
def rms_normalisation(
    operation: Operation, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__RMSNormalization.html"""
    return _over_last_axes(operation, "rms_norm", {"gamma": 1}, axis, epsilon)


@reads("InstanceNormalization")
def instance_normalisation(operation: Operation, epsilon: float = 1e-5, **older: Any) -> bool:
    """https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html"""
    return _group_norm(operation, operation.file.shape(operation.inputs[0])[1], epsilon)


@reads("GroupNormalization")
def group_normalisation(
    operation: Operation, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__GroupNormalization.html; before version 21, scale and
    offset are one number for each group."""
    channels = operation.file.shape(operation.inputs[0])[1]
    scale = operation.constant(1)
    by_channel = scale is not None and scale.size == channels
    return by_channel and _group_norm(operation, num_groups, epsilon)


def _group_norm(operation: Operation, groups: int, epsilon: float) -> bool:
    roles = {"gamma": 1, "beta": 2}
    if any(operation.constant(position) is None for position in roles.values()):
        return False
    view, _ = operation.channels_first()
    parameters = {role: operation.weight(i) for role, i in roles.items()}
    settings = {"epsilon": as_written(epsilon), "groups": groups}
    return operation.emit("group_norm", [view], view.axes, parameters=parameters, **settings)
