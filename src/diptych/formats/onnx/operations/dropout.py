"""Dropout, which most files have lost."""

from diptych.formats.onnx.operation import Operation, as_written, reads
from diptych.formats.onnx.operations.shape import identity


@reads("Dropout")
def dropout(operation: Operation, ratio: float = 0.5, seed: int = 0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Dropout.html"""
    training = operation.constant(2)
    if training is None or not training.all():
        return identity(operation)
    view, rate = operation.view(), operation.constant(1)
    if view is None:
        return False
    rate = as_written(rate.item() if rate is not None else ratio)
    return operation.emit_elementwise("dropout", view, rate=rate)
