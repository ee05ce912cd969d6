"""Dropout of numbers, channels and branches, noise, and random changes of images."""

from typing import Any

from diptych.auditing.frameworks.keras.drafts import NodeDraft, ShapedCall, draft, reads
from diptych.auditing.frameworks.keras.layer_classes import AUGMENTATIONS


@reads("Dropout")
def dropout(layer: Any, call: ShapedCall) -> NodeDraft | None:
    shape, rate = layer.noise_shape, float(layer.rate)
    if shape is None:
        return draft("dropout", rate=rate)
    rest = list(shape[1:])
    whole = [None if size == own else size for size, own in zip(rest, call.inputs[0], strict=False)]
    if shape[0] is not None or len(rest) != len(call.inputs[0]):
        return None
    if all(size == 1 for size in whole):
        return draft("drop_path", rate=rate)
    if all(size is None for size in whole):
        return draft("dropout", rate=rate)
    of_channels = all(size == 1 for size in whole[:-1]) and whole[-1] is None
    return draft("spatial_dropout", rate=rate) if of_channels and not call.channels_first else None


@reads("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def spatial_dropout(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if getattr(layer, "data_format", call.data_format) != call.data_format:
        return None
    return draft("spatial_dropout", rate=float(layer.rate))


@reads("StochasticDepth")
def stochastic_depth(layer: Any, call: ShapedCall) -> NodeDraft:
    """The one of Keras' ConvNeXt."""
    return draft("drop_path", rate=float(layer.drop_path_rate))


@reads("AlphaDropout")
def alpha_dropout(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return draft("alpha_dropout", rate=float(layer.rate)) if layer.noise_shape is None else None


@reads("GaussianDropout")
def gaussian_dropout(layer: Any, call: ShapedCall) -> NodeDraft:
    return draft("gaussian_dropout", rate=float(layer.rate))


@reads("GaussianNoise")
def gaussian_noise(layer: Any, call: ShapedCall) -> NodeDraft:
    return draft("gaussian_noise", deviation=float(layer.stddev))


@reads(*(cls.__name__ for cls in AUGMENTATIONS))
def augmentation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    if call.shape != call.inputs[0]:
        return None
    unimportant = ("name", "dtype", "trainable", "seed", "data_format", "bounding_box_format")
    config = {name: value for name, value in layer.get_config().items() if name not in unimportant}
    settings = {name: str(value) for name, value in sorted(config.items())}
    return draft("augmentation", **{"class": type(layer).__name__, "settings": settings})
