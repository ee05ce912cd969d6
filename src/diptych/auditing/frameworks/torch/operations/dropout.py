"""Dropout of numbers, channels and branches, as functions and as modules of other libraries."""

from torch import Tensor

from diptych.auditing.frameworks.torch.drafts import Activation, Drafts
from diptych.auditing.frameworks.torch.layout import FIRST
from diptych.auditing.frameworks.torch.operations.registry import reads, reads_modules
from diptych.auditing.frameworks.torch.trace import Event


@reads("dropout", "alpha_dropout")
def dropout(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> bool:
    return drafts.elementwise(event, event.name, input, rate=float(p))


@reads("dropout1d", "dropout2d", "dropout3d", "feature_dropout")
def spatial_dropout(
    drafts: Drafts,
    event: Event,
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> bool:
    value = drafts.of(event, input)
    axes = {"dropout1d": 3, "dropout2d": 4, "dropout3d": 5}.get(event.name, input.ndim)
    if not isinstance(value, Activation) or value.layout != FIRST or input.ndim < axes:
        return False  # Other axes are dropped than the channels.
    return drafts.elementwise(event, "spatial_dropout", input, rate=float(p))


@reads_modules("StochasticDepth")
def stochastic_depth(drafts: Drafts, event: Event, input: Tensor) -> bool:
    """Torchvision's; in mode ``batch`` it drops all examples at once."""
    module = event.module
    if getattr(module, "mode", "") != "row":
        return False
    return drafts.elementwise(event, "drop_path", input, rate=float(getattr(module, "p", 0.0)))


@reads_modules("DropPath")
def drop_path(drafts: Drafts, event: Event, x: Tensor) -> bool:
    """The one of timm, and those of others that are copies of it."""
    module = event.module
    if not getattr(module, "scale_by_keep", True) or not hasattr(module, "drop_prob"):
        return False
    rate = getattr(module, "drop_prob", 0.0)
    return drafts.elementwise(event, "drop_path", x, rate=float(rate or 0.0))
