"""Embeddings: rows of a constant matrix."""

from diptych.formats.onnx.operation import Operation, reads


@reads("Gather")
def gather(operation: Operation, axis: int = 0) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Gather.html"""
    kernel, view = operation.constant(0), operation.view(1)
    if kernel is None or kernel.ndim != 2 or view is None or axis not in (0, -2):
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
