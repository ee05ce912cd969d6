"""The submission of a module of several inputs or outputs, or with a loss of its own, as one of one
input, one output and a loss of them."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.auditing.frameworks.packing import (
    OWN,
    Packing,
    is_nested,
    sorted_by_name,
)
from diptych.auditing.frameworks.torch.packed_module import PackedModule, Take, counts, flat
from diptych.auditing.frameworks.torch.running import drawing_from, mode, named_by
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.users import listed, users_code
from diptych.errors import InputError

DATA = "`data` in extras"


def packed(
    submission: Submission, as_array: Callable[[Any], np.ndarray], several: int | None
) -> Submission:
    """The submission with one input, one output and a loss of them; as it is where it has those.

    Args:
        submission: the user's.
        as_array: makes a NumPy array of a tensor or an array.
        several: the number of tensors in the structure that the module gives, 0 where it gives one
            tensor, None where that is not known yet.

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
    joins = bool(several and several > 1)
    wrapper = PackedModule(submission.network, submission.module, packing, joins)
    of_x = packing.pack(x, as_array) if packing else x
    count = len(of_x)
    if several is None:
        several = _gives_several(wrapper, submission, as_array, of_x)
        wrapper.__dict__["joins"] = several > 1
    if not (packing or own_loss or several or is_nested(y) or y is None):
        return replace(submission, several=0)
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
        target_packing=of_y,
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
) -> int:
    """The number of tensors in the structure that the module gives, in training or in inference; 0
    if it gives one tensor in both. A module with auxiliary outputs may give them in training
    alone."""
    module = submission.module
    own = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    few = torch.as_tensor(np.ascontiguousarray(as_array(x)[:2]))
    few = few.to(own) if few.is_floating_point() else few
    device = next((p.device for p in module.parameters()), few.device)
    several = 0
    for training in (False, True):
        try:
            with drawing_from(0), named_by(few), mode(module, training):
                args, kwargs = wrapper.called(few.to(device))
                output = submission.module(*args, **kwargs)
        except InputError:
            if training:  # It may need more examples, or nothing that is looked at here.
                break
            raise
        if not isinstance(output, Tensor):
            leaves = [leaf for leaf in flat(output) if counts(leaf, len(few))]
            several = max(several, len(leaves), 1)
    return several


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
