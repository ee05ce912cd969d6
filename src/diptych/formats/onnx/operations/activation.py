"""Activation functions."""

import numpy as np

from diptych.formats.onnx.activations import SELU
from diptych.formats.onnx.operation import Operation, as_written, reads

PLAIN = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Exp": "exponential",
    "HardSwish": "hard_swish",
    "Mish": "mish",
    "Softsign": "softsign",
    "Abs": "absolute",
    "Sqrt": "square_root",
    "Log": "logarithm",
}
"""Operators without attributes, see https://onnx.ai/onnx/operators."""


@reads(*PLAIN)
def plain(operation: Operation) -> bool:
    return operation.emit_activation(PLAIN[operation.node.op_type])


@reads("LeakyRelu")
def leaky_relu(operation: Operation, alpha: float = 0.01) -> bool:
    """https://onnx.ai/onnx/operators/onnx__LeakyRelu.html"""
    return operation.emit_activation("leaky_relu", as_written(alpha))


@reads("Elu")
def elu(operation: Operation, alpha: float = 1.0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Elu.html"""
    return operation.emit_activation("elu", as_written(alpha))


@reads("Selu")
def selu(operation: Operation, alpha: float = SELU[0], gamma: float = SELU[1]) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Selu.html"""
    usual = bool(np.allclose((alpha, gamma), SELU, rtol=1e-5))
    return usual and operation.emit_activation("selu")


@reads("Gelu")
def gelu(operation: Operation, approximate: str = "none") -> bool:
    """https://onnx.ai/onnx/operators/onnx__Gelu.html"""
    return operation.emit_activation("gelu" if approximate == "none" else "gelu_tanh")


@reads("Swish")
def swish(operation: Operation, alpha: float = 1.0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Swish.html"""
    return alpha == 1 and operation.emit_activation("silu")


@reads("Clip")
def clip(operation: Operation, min: float | None = None, max: float | None = None) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Clip.html; the limits are inputs since version 11."""
    limits: list[float | None] = []
    for position, attribute in ((1, min), (2, max)):
        constant = operation.constant(position)
        if constant is None and operation.takes(position):
            return False
        limits.append(float(constant.item()) if constant is not None else attribute)
    most = float(np.finfo(np.float32).max)
    low, high = (None if limit is None or abs(limit) >= most else limit for limit in limits)
    if low == 0 and high in (None, 6):
        return operation.emit_activation("relu" if high is None else "relu6")
    written = [None if limit is None else as_written(limit) for limit in (low, high)]
    return operation.emit_activation("clip", limits=written)


@reads("Celu")
def celu(operation: Operation, alpha: float = 1.0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Celu.html"""
    return operation.emit_activation("celu", as_written(alpha))


@reads("HardSigmoid")
def hard_sigmoid(operation: Operation, alpha: float = 0.2, beta: float = 0.5) -> bool:
    """https://onnx.ai/onnx/operators/onnx__HardSigmoid.html"""
    sixth = abs(alpha - 1 / 6) < 1e-6
    slope = 1 / 6 if sixth else as_written(alpha)
    return beta == 0.5 and operation.emit_activation("hard_sigmoid", slope)


@reads("Shrink")
def shrink(operation: Operation, bias: float = 0.0, lambd: float = 0.5) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Shrink.html"""
    if bias not in (0, lambd):
        return False
    function = "soft_shrink" if bias else "hard_shrink"
    return operation.emit_activation(function, as_written(lambd))


@reads("ThresholdedRelu")
def thresholded_relu(operation: Operation, alpha: float = 1.0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html"""
    return operation.emit_activation("threshold", limits=[as_written(alpha), 0.0])


@reads("PRelu")
def prelu(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__PRelu.html"""
    view, slope = operation.view(), operation.constant(1)
    if view is None or slope is None or slope.ndim > len(view.axes):
        return False
    long = [i for i, size in enumerate(slope.shape, len(view.axes) - slope.ndim) if size > 1]
    if [view.axes[i] for i in long] not in ([], [len(view.shape)]):
        return False
    parameters = {"slope": operation.weight(1, shape=(slope.size,))}
    return operation.emit("prelu", [view], view.axes, view.shape, parameters=parameters)


@reads("Softmax")
def softmax(operation: Operation, axis: int | None = None) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Softmax.html"""
    return _softmax(operation, "softmax", axis)


@reads("LogSoftmax")
def log_softmax(operation: Operation, axis: int | None = None) -> bool:
    """https://onnx.ai/onnx/operators/onnx__LogSoftmax.html"""
    return _softmax(operation, "log_softmax", axis)


def _softmax(operation: Operation, function: str, axis: int | None) -> bool:
    """Before version 13, all axes from ``axis`` on are one."""
    view, opset = operation.view(), operation.file.opset
    if view is None:
        return False
    rank = len(view.axes)
    if axis is None:
        axis = -1 if opset >= 13 else 1
    over = [axis % rank] if opset >= 13 else range(axis % rank, rank)
    long = [i for i in over if operation.file.shape(view.tensor)[i] > 1]
    if [view.axes[i] for i in long] != [len(view.shape)]:
        return False
    return operation.emit_activation(function)
