"""The user's module, loss and step, run by the audit."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.torch.trace import Reached
from diptych.auditing.frameworks.users import users_code
from diptych.errors import InputError

STEP = "`step` in extras"


# The network.


def forward(submission: Submission, x: Tensor) -> Tensor:
    """The network's output, as the user calls it.

    Raises:
        InputError: the user's code fails, or gives something else than a tensor.
    """
    with named_by(x):
        output = submission.network(x)
    check_output(output)
    return output


def named_by(x: Tensor) -> AbstractContextManager[None]:
    """Says on which input the module failed."""
    shape = ", ".join(map(str, ("n", *x.shape[1:])))
    return users_code(f"the module, on an input of shape ({shape}),")


def check_output(output: object) -> None:
    """Raises InputError where the module gives something else than a tensor."""
    if not isinstance(output, Tensor):
        raise InputError(
            f"the module gives a {type(output).__name__}, not a tensor: return a module "
            "whose `forward` gives the one tensor that the loss takes"
        )


def own_randomness() -> AbstractContextManager[None]:
    """Leaves PyTorch's random numbers where they were."""
    return torch.random.fork_rng(devices=[])


def begin_randomness(number: int) -> None:
    """Resets the random numbers that a user's code may draw."""
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    torch.manual_seed(number)


def random_state() -> str:
    """The state of these random numbers, which changes with every draw."""
    arrays = torch.get_rng_state().numpy().tobytes()
    return repr((random.getstate(), repr(np.random.get_state()), arrays))  # noqa: NPY002


@contextmanager
def drawing_from(number: int) -> Iterator[None]:
    """Random numbers from a seed, and where they were afterwards."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    with own_randomness():
        begin_randomness(number)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002


@contextmanager
def mode(module: nn.Module, training: bool) -> Iterator[None]:
    """The mode that the module trains in, or inference, without gradients; all is as it was
    afterwards."""
    modes = {part: part.training for part in module.modules()}
    try:
        with buffers_kept(module), torch.no_grad():
            if not training:
                module.eval()
            yield
    finally:
        for part, own in modes.items():
            part.training = own


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Puts moving averages and counters back, whether they were changed or replaced, and plain
    numbers that a module has, which may count its calls."""
    kept = [
        (part._buffers, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None and not is_lazy(buffer)
    ]
    counters = {
        part: {n: v for n, v in vars(part).items() if type(v) in (int, float) and n != "training"}
        for part in module.modules()
    }
    try:
        yield
    finally:
        for part, numbers in counters.items():
            vars(part).update(numbers)
        with torch.no_grad():
            for buffers, name, buffer, numbers in kept:
                buffer.copy_(numbers)
                buffers[name] = buffer


# The loss.


def loss_of(submission: Submission, output: Tensor, y: Tensor) -> Tensor:
    """The user's loss, one number.

    Raises:
        InputError: the user's code fails, or gives something else.
    """
    with users_code(f"the loss on outputs {tuple(output.shape)}, targets {tuple(y.shape)}"):
        loss = submission.loss(output, y)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(
            f"the loss gives {given} where training takes one number: reduce it, such as "
            "with reduction='mean'"
        )
    return loss


def loss_of_step(submission: Submission, x: Tensor, y: Tensor) -> Tensor | None:
    """The loss, with all penalties, on which the user's own step calls `backward`; None if it does
    not call it."""

    def stop(loss: Tensor) -> None:
        raise Reached(loss)

    try:
        with backward_by(stop), users_code(STEP):
            submission.extras["step"](x, y)
    except Reached as reached:
        return reached.value
    return None


def loss_of_accumulation(
    submission: Submission, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor] | None:
    """The loss on which the first of several accumulating user's steps calls `backward`, and the
    loss that it returns, which may be divided by their number. None if it does not do both. The
    optimizer must not step in it."""
    passed: list[Tensor] = []
    with backward_by(passed.append), users_code(STEP):
        returned = submission.extras["step"](x, y)
    if not passed or returned is None:
        return None
    returned = torch.as_tensor(returned)
    return (passed[0], returned) if returned.numel() == 1 else None


# Training steps.


def step(submission: Submission, x: Tensor, y: Tensor) -> float:
    """One training step, the user's own if they have one; gives the loss before it."""
    if "step" not in submission.extras:
        submission.optimizer.zero_grad()
        loss = loss_of(submission, forward(submission, x), y)
        loss.backward()
        step_optimizer(submission)
        return loss.item()
    losses: list[Tensor] = []
    original = torch.autograd.backward

    def watch(loss: Tensor) -> None:
        losses.append(loss.detach())
        original(loss)

    with backward_by(watch), users_code(STEP):
        returned = submission.extras["step"](x, y)
    if losses:
        return losses[0].item()
    if returned is None:
        raise InputError(
            "`step` in extras neither calls `backward` nor returns the loss: return the loss"
        )
    return float(returned)


def step_on(submission: Submission, gradients: dict[str, Tensor], x: Tensor, y: Tensor) -> None:
    """One step of the optimizer on given gradients; in the user's own step, if they have one,
    `backward` finds them. A frozen parameter has none.

    Args:
        submission: a build.
        gradients: by the parameters' names.
        x, y: a batch for the user's own step.
    """
    named = dict(submission.module.named_parameters())
    if "step" not in submission.extras:
        for name, parameter in named.items():
            parameter.grad = gradients.get(name) if parameter.requires_grad else None
        step_optimizer(submission)
        return

    given: set[str] = set()

    def give(loss: Tensor) -> None:
        # Of several losses in one step, the first has all of a parameter's gradient, unless the
        # step clears it before the next.
        for name, gradient in gradients.items():
            held = named[name].grad
            if not named[name].requires_grad:
                continue
            if held is None or name not in given:
                named[name].grad = gradient + (0 if held is None else held)
        given.update(gradients)

    with buffers_kept(submission.module), backward_by(give), users_code(STEP):
        submission.extras["step"](x, y)


def step_optimizer(submission: Submission) -> None:
    """One step of the optimizer on the gradients that the parameters have."""
    with users_code("the optimizer"):
        submission.optimizer.step()


@contextmanager
def backward_by(action: Callable[[Tensor], None]) -> Iterator[None]:
    """Puts something in the place of PyTorch's `backward`, whoever calls it."""
    original = torch.autograd.backward

    def other(tensors: Any, *args: Any, **kwargs: Any) -> None:
        action(tensors[0] if isinstance(tensors, (tuple, list)) else tensors)

    torch.autograd.backward = other
    try:
        yield
    finally:
        torch.autograd.backward = original
