"""Embeddings: rows of a constant matrix, and what else gathers."""

from diptych.formats.onnx.operation import Operation, reads
from diptych.formats.onnx.operations.selection import one_place


@reads("Gather")
def gather(operation: Operation, axis: int = 0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Gather.html

    Rows of a constant matrix are an embedding; one place of something else is a slice.
    """
    kernel, view = operation.constant(0), operation.view(1)
    if kernel is None:
        return one_place(operation, axis)
    if kernel.ndim != 2 or view is None or axis not in (0, -2):
        return False
    rank = len(view.shape) + 1
    shape = (*view.shape, kernel.shape[1])
    return operation.emit(
        "embedding",
        [view],
        (*view.axes, rank),
        shape,
        parameters={"kernel": operation.weight(0)},
        padding_index=None,
        max_norm=None,
        mask=False,
    )
