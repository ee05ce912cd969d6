"""One run of a module, seen call by call."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diptych.auditing.frameworks.torch.calls import FACTORIES, operation, replaced, tensors
from diptych.auditing.frameworks.torch.layers import are_several, one_by_one
from diptych.auditing.frameworks.torch.parameters import named_tensors
from diptych.auditing.frameworks.users import user_line


@dataclass(eq=False)
class Event:
    """A call of a function, or of a module with the events inside it."""

    index: int
    name: str
    """The function's name (``conv2d``, ``add``) or the module's class."""
    owner: int | None
    """The event of the module in whose `forward` this happens."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: list[int | None]
    """For each tensor in the arguments, which value it is; None for a constant."""
    where: str | None
    module: nn.Module | None = None
    path: str = ""
    """The module's name in the whole one."""
    function: Callable[..., Any] | None = None
    outputs: list[int] = field(default_factory=list)
    mutates: bool = False
    """True if it changes its first argument in place."""
    opaque: bool = False
    """True if a module gave something that no call inside it was seen to make."""
    end: int = 0
    """The first event after a module's own."""

    def number(self, tensor: Any) -> int | None:
        """The value of a tensor among the arguments."""
        given = zip(tensors((self.args, self.kwargs)), self.numbers, strict=True)
        return next((number for other, number in given if other is tensor), None)

    def position(self, tensor: Any) -> int:
        """The position of a tensor among those in the arguments."""
        given = enumerate(tensors((self.args, self.kwargs)))
        return next(position for position, other in given if other is tensor)

    def axes_order(self) -> list[int]:
        """The order of the axes of a call's one tensor, found by calling the function on
        distinguishable axes."""
        (given,) = tensors((self.args, self.kwargs))
        probe = torch.empty([2 + i for i in range(given.ndim)])
        args, kwargs = replaced((self.args, self.kwargs), iter([probe]))
        assert self.function is not None
        return [size - 2 for size in self.function(*args, **kwargs).shape]


class Reached(BaseException):
    """The value that a run was for; no `except Exception` of a user's stops it."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value


class Trace(TorchFunctionMode):
    """One run of a module, seen call by call.

    Tensors are told apart by identity and numbered: 0 is the input; parameters and buffers, and
    whatever comes of them or of the input, have numbers; constants have none.
    """

    def __init__(
        self,
        module: nn.Module,
        swaps: dict[int, dict[int, Tensor]] | None = None,
        stop: tuple[int, int] | None = None,
    ) -> None:
        """Prepares a run.

        Args:
            module: what is run.
            swaps: by event, tensors to put in the place of those in its arguments.
            stop: the event, and which of its outputs, at which the run ends with `Reached`.
        """
        super().__init__()
        self.module = module
        self.swaps = swaps or {}
        self.stop = stop
        self.events: list[Event] = []
        self.copies: dict[int, Tensor] = {}
        """The values as they were made, since later calls may change them in place."""
        self.weights = dict(enumerate(named_tensors(module), start=1))
        self._numbers = {id(t): i for i, t in enumerate(named_tensors(module).values(), start=1)}
        self._kept: list[Tensor] = []  # An identity is good for as long as its tensor lives.
        self._count = len(self.weights)
        self._owners: list[Event] = []

    def run(self, x: Tensor) -> Any:
        """The module's output; `events` and `copies` are full then."""
        self._numbers[id(x)] = 0
        self._keep(x, 0)
        hooks = []
        for path, module in self.module.named_modules():
            if module is self.module or isinstance(module, torch.jit.ScriptModule):
                continue
            enter = functools.partial(self._enter, path)
            hooks.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            args, kwargs = self._enter("", self.module, (x,), {})
            with self:
                output = self.module(*args, **kwargs)
            self._leave(self.module, args, output)
            return output
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if are_several(operation(func), args):
            with self:
                return one_by_one(func, args)
        event = self._event(operation(func), args, kwargs or {}, function=func)
        args, kwargs = event.args, event.kwargs
        # A constant is no event; its number is that of the event after it.
        constant = all(number is None for number in event.numbers) or event.name in FACTORIES
        if not constant:
            args, kwargs = self._swapped(event)
        given = list(tensors((args, kwargs)))
        versions = [tensor._version for tensor in given]
        result = func(*args, **kwargs)
        changed = [t for t, version in zip(given, versions, strict=True) if t._version != version]
        event.mutates = bool(given and changed and changed[0] is given[0])
        if constant:
            return result
        if any(result is tensor for tensor in given) and not event.mutates:
            result = result.view_as(result)  # Or the input's other uses would seem to be of this.
        made = list(tensors(result))
        if event.mutates and not any(tensor is given[0] for tensor in made):
            made.append(given[0])
        if made:
            event.outputs = [self._numbered(tensor) for tensor in made]
            self.events.append(event)
            self._check(event, made)
        return result

    def _enter(self, path: str, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        event = self._event(type(module).__name__, args, kwargs, module=module, path=path)
        self.events.append(event)
        self._owners.append(event)
        return self._swapped(event)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        event = self._owners.pop()
        made = list(tensors(output))
        event.end = len(self.events)
        event.opaque = any(id(tensor) not in self._numbers for tensor in made)
        for tensor in made:
            known = self._numbers.get(id(tensor))
            event.outputs.append(self._numbered(tensor) if known is None else known)
        self._check(event, made)

    def _event(self, name: str, args: Any, kwargs: dict[str, Any], **more: Any) -> Event:
        numbers = [self._numbers.get(id(tensor)) for tensor in tensors((args, kwargs))]
        owner = self._owners[-1].index if self._owners else None
        where = user_line(sys._getframe(2))
        return Event(len(self.events), name, owner, args, kwargs, numbers, where, **more)

    def _numbered(self, tensor: Tensor) -> int:
        self._count += 1
        self._numbers[id(tensor)] = self._count
        self._keep(tensor, self._count)
        return self._count

    def _keep(self, tensor: Tensor, number: int) -> None:
        self._kept.append(tensor)
        if self.stop is None:
            with torch._C.DisableTorchFunction():
                self.copies[number] = tensor.detach().clone()

    def _swapped(self, event: Event) -> tuple[Any, dict[str, Any]]:
        swaps = self.swaps.get(event.index)
        if not swaps:
            return event.args, event.kwargs
        given = list(tensors((event.args, event.kwargs)))
        if max(swaps) >= len(given):
            # A call that is no event of its own, such as `torch.zeros` or `h.size()`.
            return event.args, event.kwargs
        with torch._C.DisableTorchFunction():
            for position, tensor in swaps.items():
                if event.numbers[position] is None:
                    continue
                cast = tensor.to(given[position].dtype)
                if position == 0 and given[0].shape == cast.shape and event.module is None:
                    # The code may go on with the tensor that it has, changed in place.
                    given[0].data = cast
                else:
                    original = given[position]
                    given = [cast if other is original else other for other in given]
        return replaced((event.args, event.kwargs), iter(given))

    def _check(self, event: Event, made: list[Tensor]) -> None:
        if self.stop is not None and self.stop[0] == event.index:
            raise Reached(made[self.stop[1]])
