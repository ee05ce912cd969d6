"""Resizing, and channels as blocks of pixels."""

from typing import Any

import numpy as np

from diptych.formats.onnx.operation import Operation, reads

CENTRES = {
    "half_pixel": "half",
    "pytorch_half_pixel": "half",
    "align_corners": "corners",
    "asymmetric": "corner",
}
"""By ONNX's name, where the output's pixels lie in the input."""


@reads("Resize")
def resize(
    operation: Operation,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    antialias: int = 0,
    **unimportant: Any,
) -> bool:
    """https://onnx.ai/onnx/operators/onnx__Resize.html"""
    if operation.view() is None or antialias or operation.file.opset < 11:
        return False
    centres = CENTRES.get(coordinate_transformation_mode)
    cubic = {(-0.75, 0): "cubic", (-0.5, 1): "keys"}.get((round(cubic_coeff_a, 6), exclude_outside))
    method = {"nearest": "nearest", "linear": "linear", "cubic": cubic}[mode]
    if centres is None or method is None:
        return False
    view, _ = operation.channels_first()
    sizes = list(operation.file.shape(view.tensor)[2:])
    wanted = list(operation.file.shape(operation.output)[2:])
    scales = operation.constant(2)
    ratios = [size / to for size, to in zip(sizes, wanted, strict=True)]
    if centres == "corners":
        ratios = [
            (n - 1) / (to - 1) if to > 1 else 0.0 for n, to in zip(sizes, wanted, strict=True)
        ]
    elif scales is not None and scales.size == len(sizes) + 2:
        ratios = [1 / float(scale) for scale in scales[2:]]
    if coordinate_transformation_mode == "pytorch_half_pixel" and 1 in wanted:
        return False
    if method == "nearest":
        if centres == "corner" and nearest_mode != "floor":
            return False
        if centres != "corner" and not _rounds_up(nearest_mode, wanted, ratios, centres):
            return False
    attributes = {"size": wanted, "ratios": ratios, "method": method, "centres": centres}
    return operation.emit("resize", [view], view.axes, **attributes)


def _rounds_up(mode: str, wanted: list[int], ratios: list[float], centres: str) -> bool:
    """True if the nearest pixel is the one that rounding half up gives, as the graph has it."""
    if mode == "round_prefer_ceil":
        return True
    if mode != "round_prefer_floor":
        return False
    shift = 0.5 if centres == "half" else 0.0
    places = [
        (np.arange(to) + shift) * ratio - shift for to, ratio in zip(wanted, ratios, strict=True)
    ]
    return all(np.all(np.abs(place % 1 - 0.5) > 1e-6) for place in places)


@reads("DepthToSpace")
def depth_to_space(operation: Operation, blocksize: int, mode: str = "DCR") -> bool:
    """https://onnx.ai/onnx/operators/onnx__DepthToSpace.html"""
    order = "blocks" if mode == "DCR" else "channels"
    return _blocks(operation, "depth_to_space", blocksize, order)


@reads("SpaceToDepth")
def space_to_depth(operation: Operation, blocksize: int) -> bool:
    """https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html"""
    return _blocks(operation, "space_to_depth", blocksize, "blocks")


def _blocks(operation: Operation, kind: str, block: int, order: str) -> bool:
    if operation.view() is None:
        return False
    view, _ = operation.channels_first()
    return operation.emit(kind, [view], view.axes, block=block, order=order)
