"""Up-sampling, resizing, and channels as blocks of pixels."""

from typing import Any

import keras

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.kinds.places import ratios


@reads("UpSampling1D", "UpSampling2D", "UpSampling3D")
def up_sampling(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if getattr(layer, "data_format", call.data_format) != call.data_format:
        return None
    return resized(call, getattr(layer, "interpolation", "nearest"))


@reads("Resizing")
def resizing(layer: Any, call: ShapedCall) -> NodeDraft | None:
    plain = not (layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio or layer.antialias)
    if not plain or layer.data_format != call.data_format:
        return None
    return resized(call, layer.interpolation)


@reads("ops.Resize")
def resize(operation: Any, call: ShapedCall) -> NodeDraft | None:
    names = ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias")
    if any(getattr(operation, name, False) for name in names):
        return None
    if operation.data_format != call.data_format:
        return None
    return resized(call, operation.interpolation)


def resized(call: ShapedCall, interpolation: str) -> NodeDraft | None:
    """Drafts a resampling to the call's shape; Keras has the centres at half pixels."""
    method = {"nearest": "nearest", "bilinear": "linear", "bicubic": "keys"}.get(interpolation)
    if method is None or (method == "keys" and keras.config.backend() == "torch"):
        return None
    wanted = list(call.shape[:-1])
    steps = ratios(call.inputs[0][:-1], wanted, "half")
    table = keras.config.backend() == "tensorflow" and method == "keys"
    if table and any((step * 512) % 1 for step in steps):
        return None  # TensorFlow looks weights up in a table of 1,024 places.
    return draft("resize", size=wanted, ratios=steps, method=method, centres="half")


@reads("ops.DepthToSpace")
def depth_to_space(operation: Any, call: ShapedCall) -> NodeDraft | None:
    return blocks(operation, call, "depth_to_space")


@reads("ops.SpaceToDepth")
def space_to_depth(operation: Any, call: ShapedCall) -> NodeDraft | None:
    return blocks(operation, call, "space_to_depth")


def blocks(operation: Any, call: ShapedCall, kind: str) -> NodeDraft | None:
    if operation.data_format != "channels_last" or call.channels_first:
        return None
    return draft(kind, block=int(operation.block_size), order="blocks")
