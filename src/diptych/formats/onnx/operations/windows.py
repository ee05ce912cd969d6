"""Shared code of operators with windows: padding in pixels, and their spatial axes."""

from collections.abc import Sequence
from typing import TypeVar

Value = TypeVar("Value")


def paddings(
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> list[list[int]]:
    """The pixels before and after each spatial axis.

    ``pads`` and ``auto_pad`` are attributes of https://onnx.ai/onnx/operators/onnx__Conv.html.
    """
    axes = len(windows)
    if auto_pad in ("NOTSET", "") and pads:
        return [[pads[i], pads[i + axes]] for i in range(axes)]
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return [[0, 0] for _ in range(axes)]
    result = []
    for size, window, stride, dilation in zip(sizes, windows, strides, dilations, strict=True):
        extent = (-(-size // stride) - 1) * stride + (window - 1) * dilation + 1
        total = max(0, extent - size)
        less, more = total // 2, total - total // 2
        result.append([less, more] if auto_pad == "SAME_UPPER" else [more, less])
    return result


def chosen(values: Sequence[Value], kept: list[int]) -> list[Value]:
    """The values of the spatial axes that are kept."""
    return [values[i] for i in kept]
