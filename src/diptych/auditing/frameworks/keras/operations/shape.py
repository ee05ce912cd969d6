"""Layers that change shapes only."""

from typing import Any

import numpy as np
from keras import layers

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads


@reads("Flatten")
def flatten(layer: Any, call: ShapedCall) -> NodeDraft | None:
    turns = layer.data_format == "channels_first"  # Then it puts them last before it flattens.
    if np.prod(call.inputs[0][:-1]) == 1 or turns == call.channels_first:
        return draft("flatten", order="last")
    return draft("flatten", order="first") if call.channels_first else None


@reads("Reshape")
def reshape(layer: Any, call: ShapedCall) -> NodeDraft | None:
    shapes = (call.inputs[0], call.shape)
    if call.channels_first and any(len(shape) > 1 and shape[-1] != 1 for shape in shapes):
        return None  # In the graph's layout it would also change the order.
    return draft("reshape", shape=list(call.shape))


@reads("ZeroPadding1D", "ZeroPadding2D")
def zero_padding(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if layer.data_format != call.data_format:
        return None
    pixels = [layer.padding] if isinstance(layer, layers.ZeroPadding1D) else layer.padding
    return draft("pad", padding=[list(sides) for sides in pixels])
