"""Activations: as layers, as arguments of layers, and as operations."""

from dataclasses import replace
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
    activations.celu: ("celu", 1.0),
    activations.hard_sigmoid: ("hard_sigmoid", 1 / 6),
    activations.hard_silu: ("hard_swish", None),
    activations.hard_shrink: ("hard_shrink", 0.5),
    activations.soft_shrink: ("soft_shrink", 0.5),
    activations.log_sigmoid: ("log_sigmoid", None),
    activations.mish: ("mish", None),
    activations.softsign: ("softsign", None),
    activations.sparse_plus: ("sparse_plus", None),
    activations.sparse_sigmoid: ("sparse_sigmoid", None),
    activations.squareplus: ("squareplus", 4.0),
    activations.tanh_shrink: ("tanh_shrink", None),
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
    "Celu": ("celu", "alpha"),
    "HardSilu": ("hard_swish", None),
    "HardShrink": ("hard_shrink", "threshold"),
    "SoftShrink": ("soft_shrink", "threshold"),
    "Mish": ("mish", None),
    "LogSigmoid": ("log_sigmoid", None),
    "Softsign": ("softsign", None),
    "SparsePlus": ("sparse_plus", None),
    "SparseSigmoid": ("sparse_sigmoid", None),
    "Squareplus": ("squareplus", "b"),
    "TanhShrink": ("tanh_shrink", None),
    "Square": ("square", None),
    "Sqrt": ("square_root", None),
    "Rsqrt": ("reciprocal_root", None),
    "Absolute": ("absolute", None),
    "Abs": ("absolute", None),
    "Log": ("logarithm", None),
}
"""Operations of ``keras.ops`` that are activations, and the attributes that have their slopes."""


def activated(function: str, slope: float | None = None, **more: Any) -> NodeDraft:
    return draft("activation", function=function, slope=slope, **more)


def read_function(call: ShapedCall) -> NodeDraft | None:
    """Drafts the node of an activation that is given as a function or as a layer."""
    if isinstance(call.layer, keras.Layer):
        return read_call(call)
    if call.layer is activations.hard_tanh:
        return activated("clip", limits=[-1.0, 1.0])
    name, slope = FUNCTIONS.get(call.layer, (None, None))
    if name is None or ("softmax" in name and not call.is_channel_axis(-1)):
        return None
    return activated(name, slope)


@reads("Activation")
def activation(layer: Any, call: ShapedCall) -> NodeDraft | None:
    inner = ShapedCall(layer.activation, None, call.inputs, call.shape, call.channels_first)
    return read_function(inner)


@reads("ReLU", "ops.ReLU")
def relu(layer: Any, call: ShapedCall) -> NodeDraft | None:
    slope, top, threshold = layer.negative_slope, layer.max_value, layer.threshold
    top = None if top is None else float(top)
    if threshold < 0:
        return None
    if threshold or (slope and top is not None):
        return activated("capped_relu", float(slope), limits=[float(threshold), top])
    if slope:
        return activated("leaky_relu", float(slope))
    if top is None:
        return activated("relu")
    return activated("relu6") if top == 6 else activated("clip", limits=[0.0, top])


@reads("LeakyReLU")
def leaky_relu(layer: Any, call: ShapedCall) -> NodeDraft:
    return activated("leaky_relu", float(layer.negative_slope))


@reads("ELU")
def elu(layer: Any, call: ShapedCall) -> NodeDraft:
    return activated("elu", float(layer.alpha))


@reads("Softmax", "ops.Softmax")
def softmax(layer: Any, call: ShapedCall) -> NodeDraft | None:
    return over_axis("softmax", layer.axis, call)


def over_axis(function: str, axis: Any, call: ShapedCall) -> NodeDraft | None:
    """Drafts a softmax, or its logarithm, over one axis."""
    if not isinstance(axis, int):
        return None
    if call.is_channel_axis(axis):
        return activated(function)
    rank = len(call.inputs[0]) + 1
    if call.channels_first and axis % rank:
        return None
    return activated(function, axis=axis % rank - rank)


@reads("ops.LogSoftmax")
def log_softmax(operation: Any, call: ShapedCall) -> NodeDraft | None:
    return over_axis("log_softmax", operation.axis, call)


@reads("PReLU")
def prelu(layer: Any, call: ShapedCall) -> NodeDraft | None:
    # Axes of one in front say nothing.
    shape = tuple(layer.alpha.shape)
    while len(shape) > 1 and (shape[0] == 1 or call.channels_first):
        if shape[0] != 1 and set(shape[1:]) != {1}:
            return None  # In the graph's layout they would have another order.
        shape = shape[1:] if shape[0] == 1 else shape[:1]
    return replace(draft("prelu", {"slope": layer.alpha}), shapes={"slope": shape})


@reads("ops.HardTanh")
def hard_tanh(operation: Any, call: ShapedCall) -> NodeDraft:
    return activated("clip", limits=[-1.0, 1.0])


@reads("ops.HardSigmoid")
def hard_sigmoid(operation: Any, call: ShapedCall) -> NodeDraft:
    return activated("hard_sigmoid", 1 / 6)


@reads("ops.Threshold")
def threshold(operation: Any, call: ShapedCall) -> NodeDraft:
    limits = [float(operation.threshold), float(operation.default_value)]
    return activated("threshold", limits=limits)


@reads("ops.Clip")
def clip(operation: Any, call: ShapedCall) -> NodeDraft | None:
    limits = [operation.x_min, operation.x_max]
    if any(limit is not None and not isinstance(limit, int | float) for limit in limits):
        return None
    return activated("clip", limits=[None if limit is None else float(limit) for limit in limits])


@reads("ops.Glu")
def glu(operation: Any, call: ShapedCall) -> NodeDraft | None:
    rank, axis = len(call.inputs[0]) + 1, operation.axis
    if call.is_channel_axis(axis):
        return draft("glu", axis=-1)
    return None if call.channels_first else draft("glu", axis=axis % rank - rank)


@reads("ops.Gelu")
def gelu(operation: Any, call: ShapedCall) -> NodeDraft:
    return activated("gelu_tanh" if operation.approximate else "gelu")


@reads(*(f"ops.{name}" for name in OPERATIONS))
def curve(operation: Any, call: ShapedCall) -> NodeDraft:
    function, attribute = OPERATIONS[type(operation).__name__]
    return activated(function, float(getattr(operation, attribute)) if attribute else None)
