"""Normalisation."""

from collections.abc import Sequence

from torch import Tensor, nn

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST
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
    value, count = drafts.activation(event, input), len(normalized_shape)
    if value is None or count >= input.ndim:
        return False
    first = value.layout == FIRST and input.ndim > 2
    everything = count == input.ndim - 1
    # Channels in front are the last axis of the node's array, and the others one further up.
    axes = [axis - (first and not everything) for axis in range(-count, 0)]
    turn = MOVED if first and everything else PLAIN
    parameters = drafts.roles(event, gamma=(weight, turn), beta=(bias, turn))
    if parameters is None:
        return False
    settings = {"epsilon": float(eps), "axes": axes}
    return drafts.emit(event, "layer_norm", [input], value.layout, parameters, **settings)
