"""Activations: as layers, as arguments of layers, and as operations."""

from typing import Any

import keras
from keras import activations

from diptych.auditing.frameworks.keras.drafts import (
    NodeDraft,
    ShapedCall,
    draft,
    read_call,
    reads,
)

FUNCTIONS: dict[Any, tuple[str, float | None]] = {
    activations.relu: ("relu", None),
    activations.leaky_relu: ("leaky_relu", 0.2),
    activations.elu: ("elu", 1.0),
    activations.selu: ("selu", None),
    activations.gelu: ("gelu", None),
    activations.tanh: ("tanh", None),
    activations.sigmoid: ("sigmoid", None),
    activations.softmax: ("softmax", None),
    activations.log_softmax: ("log_softmax", None),
    activations.softplus: ("softplus", None),
    activations.silu: ("silu", None),
    activations.relu6: ("relu6", None),
    activations.exponential: ("exponential", None),
}
"""Keras' activation functions, and the slopes that they have when called with nothing else."""

OPERATIONS: dict[str, tuple[str, str | None]] = {
    "Relu": ("relu", None),
    "Relu6": ("relu6", None),
    "LeakyRelu": ("leaky_relu", "negative_slope"),
    "Elu": ("elu", "alpha"),
    "Selu": ("selu", None),
    "Tanh": ("tanh", None),
    "Sigmoid": ("sigmoid", None),
    "Softplus": ("softplus", None),
    "Silu": ("silu", None),
    "Exp": ("exponential", None),
}
"""Operations of ``keras.ops`` that are activations, and the attributes that have their slopes."""


def activated(function: str, slope: float | None = None) -> NodeDraft:
    return draft("activation", function=function, slope=slope)


def read_function(call: ShapedCall) -> NodeDraft | None:
    """Drafts the node of an activation that is given as a function or as a layer."""
    if isinstance(call.layer, keras.Layer):
        return read_call(call)
    name, slope = FUNCTIONS.get(call.layer, (None, None))
    if name is None or ("softmax" in name and not call.is_channel_axis(-1)):
        return None
    return activated(name, slope)


@reads("Activation")
def activation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    inner = ShapedCall(layer.activation, None, call.inputs, call.shape, call.channels_first)
    return read_function(inner)


@reads("ReLU")
def relu(layer: Any, call: ShapedCall) -> NodeDraft | None:
    slope, top, threshold = layer.negative_slope, layer.max_value, layer.threshold
    if threshold or (slope and top is not None) or top not in (None, 6):
        return None
    if slope:
        return activated("leaky_relu", float(slope))
    return activated("relu" if top is None else "relu6")


@reads("LeakyReLU")
def leaky_relu(layer: Any, call: ShapedCall) -> NodeDraft:
    return activated("leaky_relu", float(layer.negative_slope))


@reads("ELU")
def elu(layer: Any, call: ShapedCall) -> NodeDraft:
    return activated("elu", float(layer.alpha))


@reads("Softmax", "ops.Softmax")
def softmax(layer: Any, call: ShapedCall) -> NodeDraft | None:
    over_channels = isinstance(layer.axis, int) and call.is_channel_axis(layer.axis)
    return activated("softmax") if over_channels else None


@reads("ops.LogSoftmax")
def log_softmax(operation: Any, call: ShapedCall) -> NodeDraft | None:
    over_channels = isinstance(operation.axis, int) and call.is_channel_axis(operation.axis)
    return activated("log_softmax") if over_channels else None


@reads("ops.Gelu")
def gelu(operation: Any, call: ShapedCall) -> NodeDraft:
    return activated("gelu_tanh" if operation.approximate else "gelu")


@reads(*(f"ops.{name}" for name in OPERATIONS))
def curve(operation: Any, call: ShapedCall) -> NodeDraft:
    function, attribute = OPERATIONS[type(operation).__name__]
    return activated(function, float(getattr(operation, attribute)) if attribute else None)
