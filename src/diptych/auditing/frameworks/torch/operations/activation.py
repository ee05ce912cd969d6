"""Activation functions: of each number, or along the channels."""

from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import channel_axis, graph_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import PLAIN as AS_IT_IS
from diptych.auditing.frameworks.torch.trace import Event

PLAIN = {
    "relu": "relu",
    "selu": "selu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "relu6": "relu6",
    "hardswish": "hard_swish",
    "mish": "mish",
    "softsign": "softsign",
    "logsigmoid": "log_sigmoid",
    "log_sigmoid": "log_sigmoid",
    "tanhshrink": "tanh_shrink",
    "exp": "exponential",
    "square": "square",
    "abs": "absolute",
    "absolute": "absolute",
    "sqrt": "square_root",
    "rsqrt": "reciprocal_root",
    "log": "logarithm",
}
"""Functions that take nothing but their input, and the graph's names of them."""


@reads(*PLAIN)
def plain(drafts: Drafts, event: Event, input: Tensor, inplace: bool = False) -> bool:
    return _activation(drafts, event, input, PLAIN[event.name])


@reads("leaky_relu")
def leaky_relu(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    negative_slope: float = 0.01,
    inplace: bool = False,
) -> bool:
    return _activation(drafts, event, input, "leaky_relu", negative_slope)


@reads("elu")
def elu(
    drafts: Drafts, event: Event, input: Tensor, alpha: float = 1.0, inplace: bool = False
) -> bool:
    return _activation(drafts, event, input, "elu", alpha)


@reads("gelu")
def gelu(drafts: Drafts, event: Event, input: Tensor, approximate: str = "none") -> bool:
    return _activation(drafts, event, input, "gelu_tanh" if approximate == "tanh" else "gelu")


@reads("softplus")
def softplus(
    drafts: Drafts, event: Event, input: Tensor, beta: float = 1, threshold: float = 20
) -> bool:
    # Above the threshold PyTorch gives x itself, which from 20 on is the same but for 2e-9.
    slope = None if beta == 1 else beta
    return threshold >= 20 and _activation(drafts, event, input, "softplus", slope)


@reads("celu")
def celu(
    drafts: Drafts, event: Event, input: Tensor, alpha: float = 1.0, inplace: bool = False
) -> bool:
    return _activation(drafts, event, input, "celu", alpha)


@reads("hardshrink")
def hardshrink(drafts: Drafts, event: Event, input: Tensor, lambd: float = 0.5) -> bool:
    return _activation(drafts, event, input, "hard_shrink", lambd)


@reads("softshrink")
def softshrink(drafts: Drafts, event: Event, input: Tensor, lambd: float = 0.5) -> bool:
    return _activation(drafts, event, input, "soft_shrink", lambd)


@reads("hardsigmoid")
def hardsigmoid(drafts: Drafts, event: Event, input: Tensor, inplace: bool = False) -> bool:
    return _activation(drafts, event, input, "hard_sigmoid", 1 / 6)


@reads("threshold")
def threshold(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    threshold: float,
    value: float,
    inplace: bool = False,
) -> bool:
    limits = [float(threshold), float(value)]
    return _activation(drafts, event, input, "threshold", limits=limits)


@reads("pow")
def power(drafts: Drafts, event: Event, input: Any, exponent: Any) -> bool:
    functions = {2: "square", 0.5: "square_root", -0.5: "reciprocal_root", 1: "linear"}
    known = isinstance(exponent, (int, float)) and exponent in functions
    return known and _activation(drafts, event, input, functions[exponent])


@reads("prelu")
def prelu(drafts: Drafts, event: Event, input: Tensor, weight: Tensor) -> bool:
    value = drafts.activation(event, input)
    # The channels are behind the batch, wherever others have them.
    by_channel = weight.numel() > 1
    if value is None or (by_channel and channel_axis(value.layout, input.ndim) != 1):
        return False
    parameters = drafts.roles(event, slope=(weight, AS_IT_IS))
    if parameters is None:
        return False
    return drafts.emit(event, "prelu", [input], value.layout, parameters)


@reads("glu")
def glu(drafts: Drafts, event: Event, input: Tensor, dim: int = -1) -> bool:
    value = drafts.activation(event, input)
    if value is None or not dim % input.ndim:
        return False
    axis = graph_axis(value.layout, dim, input.ndim) - input.ndim
    return drafts.emit(event, "glu", [input], value.layout, axis=axis)


@reads("hardtanh")
def hardtanh(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> bool:
    return clamp(drafts, event, input, min_val, max_val)


@reads("clamp")
def clamp(drafts: Drafts, event: Event, input: Tensor, min: Any = None, max: Any = None) -> bool:
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        return False
    if min == 0 and max in (None, 6):
        return _activation(drafts, event, input, "relu" if max is None else "relu6")
    limits = [None if limit is None else float(limit) for limit in (min, max)]
    return _activation(drafts, event, input, "clip", limits=limits)


@reads("clamp_min")
def clamp_min(drafts: Drafts, event: Event, input: Tensor, min: Any) -> bool:
    return clamp(drafts, event, input, min)


@reads("clamp_max")
def clamp_max(drafts: Drafts, event: Event, input: Tensor, max: Any) -> bool:
    return clamp(drafts, event, input, max=max)


@reads("softmax", "log_softmax")
def softmax(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    dim: int | None = None,
    dtype: Any = None,
    **unimportant: Any,
) -> bool:
    value = drafts.of(event, input)
    if not isinstance(value, Activation):
        return False
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    dim %= input.ndim
    if dim == channel_axis(value.layout, input.ndim):
        return _activation(drafts, event, input, event.name)
    value = drafts.activation(event, input)
    if value is None:
        return False
    axis = graph_axis(value.layout, dim, input.ndim) - input.ndim
    return _activation(drafts, event, input, event.name, axis=axis)


def _activation(
    drafts: Drafts,
    event: Event,
    x: Any,
    function: str,
    slope: float | None = None,
    **more: Any,
) -> bool:
    slope = None if slope is None else float(slope)
    return drafts.elementwise(event, "activation", x, function=function, slope=slope, **more)
