"""Dropout, switched off in a module that otherwise trains as it does."""

import sys
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from diptych.auditing.frameworks.torch.calls import DROPOUTS, operation
from diptych.auditing.frameworks.torch.trace import Event, Trace

NOISES = ("randn", "randn_like")
"""Functions that draw normal numbers."""
CALLS = (nn.Module._call_impl.__code__, nn.Module._wrapped_call_impl.__code__)
"""The code through which every module is called."""


class Quiet(TorchFunctionMode):
    """Switches dropout off, however it is called, and leaves the modules' modes as they are.

    Normal noise that the network's code draws by itself, as a variational autoencoder does, is
    zero. Noise outside of it, such as on the examples of a training step, stays.

    It breaks compiled graphs.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.silenced = False
        """True after a call of dropout that would have dropped something, or of noise."""
        self._modules = {id(part) for part in module.modules()}
        for part in module.modules():
            if isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
                part.dropout = 0.0  # They drop out inside one call.
            set_branches_to_zero(part)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operation(func)
        if name in DROPOUTS:
            self.silenced |= _is_on(args, kwargs)
            return args[0] if args else kwargs["input"]
        if name in NOISES and self._is_inside():
            self.silenced = True
            drawn = func(*args, **kwargs)
            return drawn * 0
        if name == "scaled_dot_product_attention":
            args, kwargs = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args, dict(kwargs)
            kwargs.pop("dropout_p", None)
        return func(*args, **kwargs)

    def _is_inside(self) -> bool:
        """True if a part of the network is being called."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code in CALLS and id(frame.f_locals.get("self")) in self._modules:
                return True
            frame = frame.f_back
        return False


def set_rates_to_zero(module: nn.Module) -> None:
    """Sets the rate of all modules that drop out to 0, which a compiled graph takes notice of."""
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        elif isinstance(part, (nn.RNNBase, nn.MultiheadAttention)):
            part.dropout = 0.0
        set_branches_to_zero(part)


def set_branches_to_zero(part: nn.Module) -> None:
    """Sets the rate of torchvision's and timm's modules that drop whole branches to 0."""
    attribute = {"StochasticDepth": "p", "DropPath": "drop_prob"}.get(type(part).__name__)
    if attribute is not None and hasattr(part, attribute):
        setattr(part, attribute, 0.0)


def called_as_function(trace: Trace) -> str | None:
    """The user's line that calls dropout as a function, in a run in training mode, if any does."""
    for event in trace.events:
        owner = None if event.owner is None else trace.events[event.owner].module
        if not isinstance(owner, nn.modules.dropout._DropoutNd) and _drops_out(event):
            return event.where or "in a library"
    return None


def _is_on(args: Any, kwargs: dict[str, Any]) -> bool:
    """True if the arguments of a call of dropout have it drop something."""
    arguments = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
    return bool(arguments.get("p", 0.5) and arguments.get("training", True))


def _drops_out(event: Event) -> bool:
    if event.name in DROPOUTS:
        return _is_on(event.args, event.kwargs)
    if event.name == "scaled_dot_product_attention":
        rate = event.args[4] if len(event.args) > 4 else event.kwargs.get("dropout_p", 0.0)
        return bool(rate)
    return False
