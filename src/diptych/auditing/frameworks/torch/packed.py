"""A module of several inputs or outputs, or with a loss of its own, as one of one input and output.

The user's module runs as it is. What is put around it takes one tensor apart into the inputs, and
joins the outputs to one.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.packing import (
    OWN,
    Packing,
    Part,
    is_nested,
    sorted_by_name,
)
from diptych.auditing.frameworks.torch.running import named_by
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.users import listed, users_code
from diptych.errors import InputError

DATA = "`data` in extras"


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
            turned = [y.movedim(1, -1) if y.ndim > 3 else y for y in outputs]
            return torch.cat([y.reshape(len(y), -1) for y in turned], 1)


class PackedModule(nn.Module):
    """The user's module with one input and one output. Its parameters are the user's module's."""

    user: nn.Module
    network: nn.Module
    packing: Packing | None
    join: Join

    def __init__(self, network: nn.Module, module: nn.Module, packing: Packing | None) -> None:
        """Puts something around a module.

        Args:
            network: what the user calls.
            module: that, before it was compiled.
            packing: how its inputs lie in one tensor; None where it has one.
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
        joined = leaves[0] if len(leaves) == 1 else self.join(*leaves)
        self.__dict__["last"] = (output, joined, (args, kwargs))
        return joined

    def with_outputs(self, own: Any, joined: Tensor) -> Any:
        """The output of the user's module, with packed outputs in place of its own."""
        self.__dict__["last"] = (own, next(flat(own)), ((), {}))
        return self.apart(joined)

    def apart(self, joined: Tensor) -> Any:
        """Joined outputs in the structure that the module gives them in."""
        output, last, _ = self.__dict__["last"]
        if joined is last:
            return output
        leaves = [leaf for leaf in flat(output) if counts(leaf, len(last))]
        if len(leaves) == 1:
            return rebuilt(output, iter([joined]), len(last))
        parts, start = [], 0
        for leaf in leaves:
            turned = leaf.movedim(1, -1) if leaf.ndim > 3 else leaf
            stop = start + turned[0].numel()
            part = joined[:, start:stop].reshape(len(joined), *turned.shape[1:])
            parts.append(part.movedim(-1, 1) if leaf.ndim > 3 else part)
            start = stop
        return rebuilt(output, iter(parts), len(last))


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


def packed(
    submission: Submission, as_array: Callable[[Any], np.ndarray], several: bool | None
) -> Submission:
    """The submission with one input, one output and a loss of them; as it is where it has those.

    Args:
        submission: the user's.
        as_array: makes a NumPy array of a tensor or an array.
        several: whether the module's output is more than one tensor, where that is known already.

    Raises:
        InputError: the module takes several inputs, and the user gives no data.
    """
    data = submission.extras.get("data")
    x, y = _inputs_and_targets(data, submission.loss is not None)
    if data is None or not isinstance(data, dict | list | tuple):
        _check_one_input(submission)
        return submission
    own_loss = submission.loss is None
    packing = Packing.of(x, DATA, as_array) if is_nested(x) else None
    wrapper = PackedModule(submission.network, submission.module, packing)
    of_x = packing.pack(x, as_array) if packing else x
    count = len(of_x)
    if several is None:
        several = _gives_several(wrapper, submission, as_array, of_x)
    if not (packing or own_loss or several or is_nested(y) or y is None):
        return replace(submission, several=False)
    nothing = y is None
    of_y = None
    if nothing:
        targets: Any = np.zeros((count, 1), np.float32)
    else:
        of_y = Packing.of(y, DATA, as_array) if is_nested(y) or several or own_loss else None
        targets = of_y.pack(y, as_array) if of_y else y

    def targets_of(packed_y: Tensor) -> Any:
        if nothing:
            return None
        return of_y.unpack([Take(part)(packed_y) for part in of_y.parts]) if of_y else packed_y

    loss = submission.loss
    if own_loss:
        loss = _own_loss(wrapper, targets_of)
    elif several or of_y is not None or nothing:
        loss = _loss(wrapper, submission, targets_of)
    extras: dict[str, Any] = submission.extras | {"data": (of_x, targets)}
    if "prepare" in extras:
        raise InputError("`prepare` and several inputs or outputs in `data`: give `data` alone")
    if "step" in extras:
        step = extras["step"]

        def own_step(batch: Tensor, packed_y: Tensor) -> Any:
            given = packing.unpack([Take(p)(batch) for p in packing.parts]) if packing else batch
            return step(given) if nothing else step(given, targets_of(packed_y))

        extras["step"] = own_step
    if "batches" in extras:
        extras["batches"] = _batches(extras["batches"], packing, of_y, as_array)
    as_own = several or own_loss or nothing or of_y is not None
    return replace(
        submission,
        network=wrapper,
        module=wrapper,
        called=submission.module,
        loss=loss,
        extras=extras,
        targets=OWN if as_own else "",
        packing=packing,
        several=several,
    )


def _inputs_and_targets(data: Any, has_loss: bool) -> tuple[Any, Any]:
    """The user's data apart: (x, y); of more arrays, the last are the targets if a loss takes
    them; a dictionary is inputs alone."""
    if not isinstance(data, tuple | list):
        return sorted_by_name(data), None
    if len(data) == 2:
        return sorted_by_name(data[0]), data[1]
    return (tuple(data[:-1]), data[-1]) if has_loss and len(data) > 2 else (data, None)


def _gives_several(
    wrapper: PackedModule,
    submission: Submission,
    as_array: Callable[[Any], np.ndarray],
    x: Any,
) -> bool:
    """True if the module's output is more than one tensor."""
    module = submission.module
    states = {part: part.training for part in module.modules()}
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    few = torch.as_tensor(np.ascontiguousarray(as_array(x)[:2]))
    few = few.to(own) if few.is_floating_point() else few
    device = next((p.device for p in module.parameters()), few.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), named_by(few):
            module.eval()
            args, kwargs = wrapper.called(few.to(device))
            output = submission.module(*args, **kwargs)
    finally:
        for part, training in states.items():
            part.training = training
    return not isinstance(output, Tensor)


def _check_one_input(submission: Submission) -> None:
    """Raises InputError where there are no data, and the module needs several inputs."""
    parameters = inspect.signature(submission.module.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    if len(needed) > 1:
        raise InputError(
            f"the module's forward takes {len(needed)} inputs ({', '.join(needed)}): give "
            f"examples of them by `data` in extras, such as {{'data': (({', '.join(needed)}), y)}}"
        )
    if submission.loss is None:
        raise InputError(
            "the loss is None: give `data` in extras, on which the module computes its own loss"
        )


def _loss(
    wrapper: PackedModule, submission: Submission, targets_of: Callable[[Tensor], Any]
) -> Callable[[Tensor, Tensor], Any]:
    """The user's loss for joined outputs and packed targets."""
    user = submission.loss

    def loss(output: Tensor, y: Tensor) -> Any:
        return user(wrapper.apart(output), targets_of(y))

    loss.user = user  # pyright: ignore
    return loss


def _own_loss(
    wrapper: PackedModule, targets_of: Callable[[Tensor], Any]
) -> Callable[[Tensor, Tensor], Any]:
    """The loss that the module computes of its inputs."""

    def loss(output: Tensor, y: Tensor) -> Any:
        last = wrapper.__dict__["last"]
        if last is None or output is not last[1]:
            raise NotImplementedError(
                "the module computes its own loss of its inputs: it takes no other outputs"
            )
        whole, _, (args, kwargs) = last
        step = getattr(wrapper.user, "training_step", None)
        if step is not None:
            given = kwargs or (args[0] if len(args) == 1 else args)
            targets = targets_of(y)
            batch = given if targets is None else (given, targets)
            with users_code("`training_step`"):
                whole = step(batch, 0)
        if isinstance(whole, Tensor):
            return whole
        value = whole.get("loss") if isinstance(whole, dict) else getattr(whole, "loss", None)
        if value is None:
            keys = listed(whole) if isinstance(whole, dict) else type(whole).__name__
            raise InputError(
                f"the loss is None, and the module's output has no `loss` (it has {keys}): return "
                "a loss, or give what the module needs for its own, such as labels, in `data`"
            )
        return value

    loss.told = "the module's own loss"  # pyright: ignore
    return loss


def _batches(
    user: Callable[[Any, Any], Any],
    of_x: Packing | None,
    of_y: Packing | None,
    as_array: Callable[[Any], np.ndarray],
) -> Callable[[Tensor, Tensor], Iterator[tuple[Any, Any]]]:
    """The user's batches of packed examples, packed."""

    def batches(x: Tensor, y: Tensor) -> Iterator[tuple[Any, Any]]:
        apart = [
            packing.unpack([Take(part)(value) for part in packing.parts]) if packing else value
            for packing, value in ((of_x, x), (of_y, y))
        ]
        for one, other in user(*apart):
            yield (
                of_x.pack(sorted_by_name(one), as_array) if of_x else one,
                of_y.pack(other, as_array) if of_y else other,
            )

    return batches
