"""Pooling, over windows and over whole images."""

from typing import Any

import keras

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.operations.convolution import padded


def window(layer: Any, call: ShapedCall) -> dict[str, Any]:
    """The attributes that both kinds of pooling have."""
    spatial, ones = call.inputs[0][:-1], (1,) * len(layer.pool_size)
    return {
        "size": list(layer.pool_size),
        "strides": list(layer.strides),
        "padding": padded(layer.padding, spatial, layer.pool_size, layer.strides, ones),
    }


@reads("MaxPooling1D", "MaxPooling2D", "MaxPooling3D")
def max_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    return draft("max_pool", **window(layer, call))


@reads("AveragePooling1D", "AveragePooling2D", "AveragePooling3D")
def average_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    attributes = window(layer, call)
    uneven = any(before != after for before, after in attributes["padding"])
    if keras.config.backend() == "torch" and uneven:
        return None  # Here Keras repeats the pixels at the edge and counts them.
    return draft("average_pool", **attributes, count_padding=False)


@reads("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
def global_average_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return over_the_image(layer, call, "global_average_pool", "mean")


@reads("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D")
def global_max_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return over_the_image(layer, call, "global_max_pool", "max")


def over_the_image(layer: Any, call: ShapedCall, kind: str, function: str) -> NodeDraft | None:
    """Drafts a pool over all spatial axes, which may stay with length 1."""
    if layer.data_format != call.data_format:
        return None
    if not layer.keepdims:
        return draft(kind)
    axes = list(range(len(call.inputs[0]) - 1))
    return draft("reduce", function=function, over=axes, keepdims=True)


@reads(*(f"AdaptiveAveragePooling{axes}D" for axes in (1, 2, 3)))
def adaptive_average_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return adaptive(layer, call, "average_pool", "adaptive_average_pool")


@reads(*(f"AdaptiveMaxPooling{axes}D" for axes in (1, 2, 3)))
def adaptive_max_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return adaptive(layer, call, "max_pool", "adaptive_max_pool")


def adaptive(layer: Any, call: ShapedCall, plain: str, kind: str) -> NodeDraft | None:
    """Drafts a pool with an output of a given size; as a plain one where it divides the input's."""
    if layer.data_format != call.data_format:
        return None
    sizes, wanted = call.inputs[0][:-1], call.shape[:-1]
    if any(size % to for size, to in zip(sizes, wanted, strict=True)):
        return draft(kind, size=list(wanted))
    windows = [size // to for size, to in zip(sizes, wanted, strict=True)]
    counted = {"count_padding": False} if plain == "average_pool" else {}
    padding = [[0, 0] for _ in windows]
    return draft(plain, size=windows, strides=windows, padding=padding, **counted)
