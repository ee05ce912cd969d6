"""Copies of a module's weights that the user's code keeps, such as a target network.

An audit puts other weights into a build than it was made with. What the user's function has copied
from the weights, and what nothing but its closures holds, must then get the same ones.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from diptych.auditing.frameworks.torch.calls import operation


class Copying(TorchFunctionMode):
    """Notes which tensors are copied from which."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = operation(func)
        if name == "clone" and isinstance(args[0], Tensor):
            self._pairs.append((result, args[0]))
        elif name == "copy" and len(args) > 1 and isinstance(args[1], Tensor):
            self._pairs.append((args[0], args[1]))
        return result

    def of(self, module: nn.Module) -> list[tuple[Tensor, str]]:
        """The copies that still equal a weight of the module and are none themselves, each with the
        name of its weight."""
        named = dict(module.named_parameters()) | dict(module.named_buffers())
        own = {name: tensor for name, tensor in named.items() if not is_lazy(tensor)}
        names = {_place(tensor): name for name, tensor in own.items()}
        copies: dict[int, tuple[Tensor, str]] = {}
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for copy, source in self._pairs:
                place = _place(copy)
                known = copies.get(_place(source), (None, None))[1]
                name = names.get(_place(source), known)
                if place in names or name is None:
                    continue
                copies.pop(place, None)
                if copy.shape == own[name].shape and torch.equal(copy, own[name].to(copy.dtype)):
                    copies[place] = (copy, name)
        return list(copies.values())


def _place(tensor: Tensor) -> int:
    """Where a tensor's numbers are, which it shares with all views of it."""
    return tensor.untyped_storage().data_ptr()


def copied_anew(copies: list[tuple[Tensor, str]], module: nn.Module) -> None:
    """Puts the module's present weights into their copies."""
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad(), torch._C.DisableTorchFunction():
        for copy, name in copies:
            copy.copy_(own[name])
