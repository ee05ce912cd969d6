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


@reads("MaxPooling1D", "MaxPooling2D")
def max_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    return draft("max_pool", **window(layer, call))


@reads("AveragePooling1D", "AveragePooling2D")
def average_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    attributes = window(layer, call)
    uneven = any(before != after for before, after in attributes["padding"])
    if keras.config.backend() == "torch" and uneven:
        return None  # Here Keras repeats the pixels at the edge and counts them.
    return draft("average_pool", **attributes, count_padding=False)


@reads("GlobalAveragePooling1D", "GlobalAveragePooling2D")
def global_average_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return draft("global_average_pool") if over_the_image(layer, call) else None


@reads("GlobalMaxPooling1D", "GlobalMaxPooling2D")
def global_max_pooling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return draft("global_max_pool") if over_the_image(layer, call) else None


def over_the_image(layer: Any, call: ShapedCall) -> bool:
    return layer.data_format == call.data_format and not layer.keepdims
