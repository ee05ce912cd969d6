"""Normalisation."""

from torch import Tensor, nn

from diptych.auditing.frameworks.torch.drafts import Drafts
from diptych.auditing.frameworks.torch.layout import FIRST
from diptych.auditing.frameworks.torch.operations.registry import reads
from diptych.auditing.frameworks.torch.parameters import PLAIN
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
