"""A module of several inputs or outputs as one of one input and output.

The user's module runs as it is. What is put around it takes one tensor apart into the inputs, and
joins the outputs to one.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.packing import Packing, Part
from diptych.errors import InputError


class Take(nn.Module):
    """Takes one input out of the packed one."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():  # One node for an audit, whatever it is made of.
            own = x[:, self.part.start : self.part.stop].reshape(len(x), *self.part.shape)
            return own.round().to(getattr(torch, self.part.whole)) if self.part.whole else own * 1


class Join(nn.Module):
    """Joins the outputs to one, each with its channels at the end."""

    def forward(self, *outputs: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            return torch.cat([turned(y).reshape(len(y), -1) for y in outputs], 1)


class PackedModule(nn.Module):
    """The user's module with one input and one output. Its parameters are the user's module's."""

    user: nn.Module
    network: nn.Module
    packing: Packing | None
    join: Join

    def __init__(
        self, network: nn.Module, module: nn.Module, packing: Packing | None, joins: bool = False
    ) -> None:
        """Puts something around a module.

        Args:
            network: what the user calls.
            module: that, before it was compiled.
            packing: how its inputs lie in one tensor; None where it has one.
            joins: whether it gives more than one tensor in a mode, so that one alone is joined too.
        """
        self.__dict__["user"] = module
        super().__init__()
        self.__dict__["network"], self.__dict__["packing"] = network, packing
        self.__dict__["_parameters"], self.__dict__["_buffers"] = (
            module._parameters,
            module._buffers,
        )
        self.__dict__["_non_persistent_buffers_set"] = module._non_persistent_buffers_set
        for name, inner in module._modules.items():
            self._modules[name] = inner
        for part in packing.parts if packing else ():
            self._modules[f"input {part.name}".replace(".", " ")] = Take(part)
        self._modules["outputs joined"] = self.__dict__["join"] = Join()
        self.__dict__["last"] = None
        """The last output as the module gives it, joined, and the arguments that it was of."""
        self.__dict__["joins"] = joins
        self.__dict__["structures"] = {}
        """Outputs as the module gives them, by the numbers in the joined one for an example."""

    @property
    def training(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.__dict__["user"].training

    @training.setter
    def training(self, training: bool) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if "network" in self.__dict__:
            self.user.training = training

    def train(self, mode: bool = True) -> "PackedModule":
        self.user.train(mode)
        return self

    def called(self, x: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that the user's module gets."""
        if self.packing is None:
            return (x,), {}
        takes = [module for module in self._modules.values() if isinstance(module, Take)]
        return arguments(self.packing.unpack([take(x) for take in takes]))

    def forward(self, x: Tensor) -> Tensor:
        args, kwargs = self.called(x)
        output = self.network(*args, **kwargs)
        leaves = [leaf for leaf in flat(output) if counts(leaf, len(x))]
        if not leaves:
            raise InputError("the module gives no tensor with one entry for each example")
        one = len(leaves) == 1 and not self.__dict__["joins"]
        joined = leaves[0] if one else self.join(*leaves)
        self.__dict__["last"] = (output, joined, (args, kwargs))
        self.__dict__["structures"][joined[0].numel()] = (
            rebuilt(output, (leaf.detach() for leaf in leaves), len(x)),
            len(x),
        )
        return joined

    def with_outputs(self, own: Any, joined: Tensor) -> Any:
        """The output of the user's module, with packed outputs in place of its own."""
        return self._apart(joined, own, len(next(flat(own))))

    def apart(self, joined: Tensor) -> Any:
        """Joined outputs in the structure that the module gives them in.

        Raises:
            NotImplementedError: the module gives no outputs of this size.
        """
        output, last, _ = self.__dict__["last"]
        if joined is last:
            return output
        structures = self.__dict__["structures"]
        if not self.__dict__["joins"]:
            return self._apart(joined, output, len(last))
        if joined[0].numel() not in structures:
            sizes = " or ".join(map(str, structures))
            raise NotImplementedError(
                f"its loss takes the module's own outputs, of {sizes} numbers for each example"
            )
        return self._apart(joined, *structures[joined[0].numel()])

    def _apart(self, joined: Tensor, output: Any, count: int) -> Any:
        """Joined outputs in the structure of an output of a number of examples."""
        leaves = [leaf for leaf in flat(output) if counts(leaf, count)]
        if len(leaves) == 1 and not self.__dict__["joins"]:
            return rebuilt(output, iter([joined]), count)
        parts, start = [], 0
        for leaf in leaves:
            shape = turned(leaf).shape[1:]
            stop = start + shape.numel()
            part = joined[:, start:stop].reshape(len(joined), *shape)
            parts.append(part.movedim(-1, 1) if leaf.ndim > 3 else part)
            start = stop
        return rebuilt(output, iter(parts), count)


def turned(output: Tensor) -> Tensor:
    """An output with its channels at the end."""
    return output.movedim(1, -1) if output.ndim > 3 else output


def arguments(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A structure as the arguments of a call: a dictionary by name, a list or tuple in order."""
    if isinstance(given, dict):
        return (), given
    return (tuple(given), {}) if isinstance(given, list | tuple) else ((given,), {})


def counts(leaf: Tensor, examples: int) -> bool:
    """True if a tensor of an output has floating-point numbers for each example."""
    return leaf.is_floating_point() and leaf.ndim > 0 and leaf.shape[0] == examples


def flat(output: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dictionaries; other things are passed over."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for name, value in output.items():
            if name != "loss":
                yield from flat(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from flat(value)


def rebuilt(output: Any, others: Iterator[Tensor], examples: int) -> Any:
    """The same structure with other tensors in it."""
    if isinstance(output, Tensor):
        return next(others) if counts(output, examples) else output
    if isinstance(output, dict):
        result = copy.copy(output)  # Of its own class: its items may be attributes too.
        for name, value in output.items():
            if name != "loss":
                result[name] = rebuilt(value, others, examples)
        return result
    if isinstance(output, list | tuple):
        items = [rebuilt(value, others, examples) for value in output]
        made = getattr(type(output), "_make", None)
        return made(items) if made else type(output)(items)
    return output
