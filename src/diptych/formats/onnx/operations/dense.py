"""Dense layers: products with a constant matrix."""

import numpy as np

from diptych.formats.onnx.operation import Operation, reads


@reads("Gemm")
def gemm(
    operation: Operation, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Gemm.html"""
    bias = operation.constant(2)
    if alpha != 1 or transA or (operation.takes(2) and bias is None):
        return False
    if bias is not None and beta not in (0, 1):
        return False
    return _dense(operation, (1, 0) if transB else (0, 1), bias if beta else None)


@reads("MatMul")
def matmul(operation: Operation) -> bool:
    """https://onnx.ai/onnx/operators/onnx__MatMul.html"""
    return _dense(operation, (0, 1), None)


def _dense(operation: Operation, order: tuple[int, int], bias: np.ndarray | None) -> bool:
    view, kernel = operation.view(), operation.constant(1)
    if view is None or kernel is None or kernel.ndim != 2 or len(view.axes) < 2:
        return False
    units = kernel.shape[order[1]]
    if bias is not None and bias.size != units:
        return False
    view = operation.laid_out(view, tuple(range(len(view.axes))))
    parameters = {"kernel": operation.weight(1, order)}
    if bias is not None:
        parameters["bias"] = operation.weight(2, shape=(units,))
    return operation.emit("dense", [view], view.axes, parameters=parameters)
