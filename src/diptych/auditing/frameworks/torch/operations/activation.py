"""Activation functions: of each number, or along the channels."""

from typing import Any

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import channel_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.trace import Event

PLAIN = {
    "relu": "relu",
    "selu": "selu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "relu6": "relu6",
    "exp": "exponential",
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
    return (beta, threshold) == (1, 20) and _activation(drafts, event, input, "softplus")


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
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0 or max not in (None, 6):
        return False
    return _activation(drafts, event, input, "relu" if max is None else "relu6")


@reads("clamp_min")
def clamp_min(drafts: Drafts, event: Event, input: Tensor, min: Any) -> bool:
    return clamp(drafts, event, input, min)


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
    axis = channel_axis(value.layout, input.ndim)
    return dim % input.ndim == axis and _activation(drafts, event, input, event.name)


def _activation(
    drafts: Drafts, event: Event, x: Any, function: str, slope: float | None = None
) -> bool:
    slope = None if slope is None else float(slope)
    return drafts.elementwise(event, "activation", x, function=function, slope=slope)
