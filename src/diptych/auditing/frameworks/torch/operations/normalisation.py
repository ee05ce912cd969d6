"""Normalisation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST, graph_axis
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import MOVED, PLAIN
from diptych.auditing.frameworks.torch.trace import Event


@reads("batch_norm")
def batch_norm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or (input.ndim > 2 and value.layout != FIRST) or running_mean is None:
        return False
    roles = {"gamma": weight, "beta": bias, "mean": running_mean, "variance": running_var}
    given = {role: (tensor, PLAIN) for role, tensor in roles.items()}
    parameters = drafts.roles(event, **given)
    if parameters is None:
        return False
    owner = None if event.owner is None else drafts.trace.events[event.owner].module
    unbiased = getattr(owner, "unbiased", True)
    if momentum == 0 and isinstance(owner, nn.modules.batchnorm._BatchNorm):
        momentum = owner.momentum or 0.0  # It moves its averages itself.
    return drafts.emit(
        event,
        "batch_norm",
        [input],
        value.layout,
        parameters,
        epsilon=float(eps),
        momentum=1.0 - momentum,
        unbiased=unbiased,
    )


@reads("layer_norm")
def layer_norm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> bool:
    count, given = len(normalized_shape), {"gamma": weight, "beta": bias}
    return _over_last_axes(drafts, event, "layer_norm", input, count, given, eps)


@reads("rms_norm")
def rms_norm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> bool:
    count = len(normalized_shape)
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _over_last_axes(drafts, event, "rms_norm", input, count, {"gamma": weight}, eps)


def _over_last_axes(
    drafts: Drafts,
    event: Event,
    kind: str,
    input: Tensor,
    count: int,
    given: dict[str, Tensor | None],
    epsilon: float,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or count >= input.ndim:
        return False
    first = value.layout == FIRST and input.ndim > 2
    everything = count == input.ndim - 1
    # Channels in front are the last axis of the node's array, and the others one further up.
    axes = [axis - (first and not everything) for axis in range(-count, 0)]
    turn = MOVED if first and everything else PLAIN
    parameters = drafts.roles(event, **{role: (tensor, turn) for role, tensor in given.items()})
    if parameters is None:
        return False
    settings = {"epsilon": float(epsilon), "axes": axes}
    return drafts.emit(event, kind, [input], value.layout, parameters, **settings)


@reads("group_norm")
def group_norm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or (input.ndim > 2 and value.layout != FIRST):
        return False
    parameters = drafts.roles(event, gamma=(weight, PLAIN), beta=(bias, PLAIN))
    if parameters is None:
        return False
    settings = {"epsilon": float(eps), "groups": num_groups}
    return drafts.emit(event, "group_norm", [input], value.layout, parameters, **settings)


@reads("instance_norm")
def instance_norm(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> bool:
    alone = use_input_stats and running_mean is None  # It keeps no averages.
    return alone and group_norm(drafts, event, input, input.shape[1], weight, bias, eps)


@reads("normalize")
def normalize(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    p: float = 2.0,
    dim: int | Sequence[int] = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> bool:
    value = drafts.activation(event, input)
    if value is None or p != 2 or eps > 1e-6:
        return False
    dims = [dim] if isinstance(dim, int) else dim
    axes = sorted(graph_axis(value.layout, axis, input.ndim) - input.ndim for axis in dims)
    return drafts.emit(event, "unit_norm", [input], value.layout, axes=axes)
