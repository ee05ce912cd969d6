"""The result of the user's function: a module, its loss, its optimizer, and extras."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from diptych.auditing.frameworks.packing import Packing
from diptych.auditing.frameworks.torch.schedulers import Scheduler
from diptych.auditing.frameworks.users import check_takes, listed
from diptych.errors import InputError

EXTRAS = ("prepare", "data", "batches", "step", "steps")
"""The extras that a user may pass besides the module, the loss and the optimizer."""
SHAPE = "(module, loss, optimizer) or (module, loss, optimizer, extras)"


@dataclass
class Submission:
    """One build of the user's module, loss and optimizer, and what else they give."""

    network: nn.Module
    """The object that the user calls: the module itself, or the result of `torch.compile`."""
    module: nn.Module
    """The module, as it was before it was compiled."""
    loss: Any
    """The user's, of an output and targets; None where the module computes its own."""
    optimizer: torch.optim.Optimizer
    extras: dict[str, Any]
    schedulers: list[Scheduler]
    """The learning-rate schedulers of the optimizer."""
    called: nn.Module
    """The function that the user's own step calls, before it was compiled."""
    targets: str = ""
    """The targets that the loss takes, if known already."""
    several: int | None = None
    """The number of tensors in the structure that the module gives; 0 where it gives one tensor,
    None where that was not looked at."""
    packing: Packing | None = None
    """The packing of several inputs in the one that `module` takes."""
    target_packing: Packing | None = None
    """The packing of targets in one array."""
    copies: list[tuple[torch.Tensor, str]] = field(default_factory=list)
    """Tensors that the user's function has copied from the module's weights, with their names."""

    @classmethod
    def of(cls, returned: Any, schedulers: list[Scheduler]) -> "Submission":
        """Checks what the user's function returned.

        Args:
            returned: anything.
            schedulers: all schedulers that were made meanwhile.

        Raises:
            InputError: it is something else than `SHAPE`, or a part of it is of the wrong kind.
        """
        if not isinstance(returned, (tuple, list)) or len(returned) not in (3, 4):
            given = type(returned).__name__
            if isinstance(returned, (tuple, list)):
                given += f" of {len(returned)}"
            raise InputError(f"the function returned a {given}: return {SHAPE}")
        network, loss, optimizer, *rest = returned
        extras = rest[0] if rest else {}
        if not isinstance(network, nn.Module):
            raise InputError(
                f"the first thing returned is a {type(network).__name__}, not a torch.nn.Module: "
                f"return {SHAPE}"
            )
        if isinstance(network, nn.modules.loss._Loss) or isinstance(optimizer, nn.Module):
            kinds = ", a ".join(type(part).__name__ for part in returned[:3])
            raise InputError(f"the things returned are a {kinds}, in this order: return {SHAPE}")
        module = getattr(network, "_orig_mod", network)
        if loss is not None and not callable(loss):
            raise InputError(
                f"the loss is a {type(loss).__name__}: return a callable loss(output, target), "
                "such as torch.nn.CrossEntropyLoss()"
            )
        if not all(hasattr(optimizer, name) for name in ("step", "zero_grad", "param_groups")):
            raise InputError(
                f"the optimizer is a {type(optimizer).__name__}: return a torch.optim.Optimizer "
                "made with the module's parameters"
            )
        _check_extras(extras)
        own = [scheduler for scheduler in schedulers if scheduler.moves(optimizer)]
        return cls(network, module, loss, optimizer, extras, own, module)


def _check_extras(extras: Any) -> None:
    if not isinstance(extras, dict):
        raise InputError(
            f"extras is a {type(extras).__name__}: return a dict with any of {listed(EXTRAS)}"
        )
    unknown = [key for key in extras if key not in EXTRAS]
    if unknown:
        raise InputError(
            f"extras has {listed(unknown)}, which is unknown: it may have {listed(EXTRAS)}"
        )
    for key in ("prepare", "batches", "step"):
        if key in extras and not callable(extras[key]):
            raise InputError(
                f"`{key}` in extras is a {type(extras[key]).__name__}: give a function"
            )
    if "batches" in extras:
        check_takes(extras["batches"], ("x", "y"), "`batches` in extras")
    steps = extras.get("steps", 1)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise InputError(
            f"`steps` in extras is {steps!r}: give the number of training steps, such as 10_000"
        )
