"""Facts about Keras' layers that do not concern reading them into a graph."""

# Keras' annotations say less than Keras takes and gives, and lack its layers' attributes.
# pyright: reportAttributeAccessIssue=false

from typing import Any

import keras
from keras import activations, layers
from keras.src.applications.convnext import StochasticDepth  # Keras has no public name for it.

SPATIAL = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv3DTranspose,
    layers.MaxPooling3D,
    layers.AveragePooling3D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling3D,
    layers.AdaptiveAveragePooling1D,
    layers.AdaptiveAveragePooling2D,
    layers.AdaptiveAveragePooling3D,
    layers.AdaptiveMaxPooling1D,
    layers.AdaptiveMaxPooling2D,
    layers.AdaptiveMaxPooling3D,
    layers.ZeroPadding3D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling3D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.Resizing,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.UpSampling2D,
)
"""Layers whose ``data_format`` says where the channels are."""

WITH_ACTIVATION = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.Dense,
    layers.EinsumDense,
)
"""Layers that end with the activation that they have as an argument."""

AUGMENTATIONS = tuple(
    cls
    for name, cls in sorted(vars(layers).items())
    if name in ("AugMix", "RandAugment") or (name.startswith("Random") and name != "RandomCrop")
)
"""Layers that change images at random in training, and pass them on in inference."""

WITHOUT_EFFECT = (layers.InputLayer, layers.Identity, layers.ActivityRegularization)
"""Layers that return their input."""

RANDOM = {
    layers.Dropout: ("rate",),
    layers.GaussianDropout: ("rate",),
    layers.AlphaDropout: ("rate",),
    layers.GaussianNoise: ("stddev",),
    StochasticDepth: ("drop_path_rate",),
    layers.SimpleRNNCell: ("dropout", "recurrent_dropout"),
    layers.GRUCell: ("dropout", "recurrent_dropout"),
    layers.LSTMCell: ("dropout", "recurrent_dropout"),
}
"""Layers that are random in training, and their attributes that are zero where they are not."""


def computes_as(layer: Any, known: type) -> bool:
    """True if a layer of a class derived from a known one still computes as that does."""
    derived = type(layer).__mro__[: type(layer).__mro__.index(known)]
    computing = {"call", "__call__", "convolution_op"}
    return not any(computing & vars(cls).keys() for cls in derived)


def own_activation(layer: Any) -> Any:
    """Returns the activation that a layer has as an argument and ends with, or None."""
    known = next((cls for cls in type(layer).__mro__ if cls in WITH_ACTIVATION), None)
    if known is None or not computes_as(layer, known):
        return None
    return None if layer.activation in (None, activations.linear) else layer.activation


def has_no_effect(layer: Any) -> bool:
    """True if a layer returns its input."""
    linear = isinstance(layer, layers.Activation) and layer.activation is activations.linear
    return linear or type(layer) in WITHOUT_EFFECT


def class_name(thing: Any) -> str:
    """The name by which the user knows a layer or a function."""
    return getattr(thing, "__name__", None) or type(thing).__name__


def public_class(thing: Any) -> type:
    """The class that users know: backends have hidden ones that derive from it."""
    return next(cls for cls in type(thing).__mro__ if ".backend." not in cls.__module__)


def is_kerass(cls: type) -> bool:
    """True if Keras defines a class."""
    return cls.__module__.split(".")[0] == keras.__name__
