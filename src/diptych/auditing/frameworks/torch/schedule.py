"""The learning rates of many steps, followed without computing.

The user's own step runs, with everything in it that takes time replaced: each network gives an
output that was computed once, `backward` does nothing, and the optimizer only counts. Whatever the
step does between (its own counters, schedulers, accumulation, rates set by hand) happens as it does
in training.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    _global_optimizer_post_hooks,
    _global_optimizer_pre_hooks,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from diptych.auditing.frameworks.protocol import FollowedPartly
from diptych.auditing.frameworks.torch.calls import tensors
from diptych.auditing.frameworks.torch.compiling import uncompiled
from diptych.auditing.frameworks.torch.schedulers import Scheduler
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.users import error_line, is_users, one_line

LOOKED_AT = 2_000
"""Steps that are run, where they can be afforded, to see how often each scheduler is stepped."""
LEAST = 100
"""Steps that are run in any case."""
BUDGET = 8.0
"""Seconds that following may take, by the estimate below; what is left is extrapolated."""
PER_STEP, PER_CALL, PER_NUMBER = 40e-6, 4e-6, 0.5e-9
"""Seconds that a step, a call with tensors and a number in them take: an estimate, fixed here so
that what is found does not depend on how busy the machine is."""

Rates = list[float]


OPTIMIZER = -1
"""The optimizer's step among the calls that are logged; schedulers have their position."""


@dataclass
class Followed:
    """The learning rates of the first steps, and what moved them."""

    rates: list[tuple[int, Rates]] = field(default_factory=list)
    """The step and its rates, where they differ from those before."""
    calls: list[tuple[int, ...]] = field(default_factory=list)
    """For each step that was run, the steps of schedulers and of the optimizer in it, in order."""
    ended: bool = False
    """True if a scheduler refused to go on."""
    by_hand: bool = False
    """True if rates were set by something else than a scheduler."""

    def add(self, step: int, rates: Rates) -> None:
        """Notes the rates that a step has."""
        if not self.rates or self.rates[-1][1] != rates:
            self.rates.append((step, rates))

    def moves(self, scheduler: int) -> list[int]:
        """The steps in which the user moves a scheduler."""
        return [step for step, calls in enumerate(self.calls) if scheduler in calls]

    def period(self, scheduler: int) -> int | None:
        """The number of steps from one move of a scheduler to the next; None if it varies."""
        gaps = {after - before for before, after in pairwise(self.moves(scheduler))}
        return gaps.pop() if len(gaps) == 1 else None

    def accumulated(self) -> int:
        """Over how many of the user's steps the optimizer's own steps accumulate gradients."""
        moves = self.moves(OPTIMIZER)
        period = self.period(OPTIMIZER)
        return period if period is not None and moves[0] == period - 1 else 1

    def pattern(self) -> int | None:
        """The shortest period after which all calls repeat, and None where there is none."""
        for period in range(1, len(self.calls) // 3):
            if self.calls[period:] == self.calls[:-period]:
                return period
        return None


class _Cost(TorchFunctionMode):
    """Estimates the time that a step takes, always the same for the same step."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = PER_STEP

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        numbers = sum(tensor.numel() for tensor in tensors((args, kwargs)))
        self.seconds += PER_CALL + PER_NUMBER * numbers
        return func(*args, **(kwargs or {}))


class Follower:
    """Runs the steps of a fresh build without computing."""

    def __init__(self, submission: Submission, x: Tensor, y: Tensor) -> None:
        """Takes a fresh build, which is not fit for anything else afterwards.

        Args:
            submission: the build.
            x: a batch of inputs.
            y: their targets.
        """
        self.submission, self.x, self.y = submission, x, y
        self.optimizer: Any = submission.optimizer
        self.followed = Followed()
        self._step = submission.extras.get("step")
        self._calls: list[int] = []  # Of the present step.
        self._known = self._rates()  # As schedulers left them.
        self._inside = 0  # Schedulers that are stepping: some step others.
        for position, scheduler in enumerate(submission.schedulers):
            self._watch(position, scheduler)
        self._replace_network()
        self._overridden = overridden(self.optimizer)
        if self._overridden is None:
            self.optimizer.step = self._count

    def follow(self, steps: int) -> Followed:
        """The rates of the first steps.

        Raises:
            FollowedPartly: they cannot be followed that far.
            NotImplementedError: the user's step does not run without computing.
        """
        followed = self.look(steps)
        if self._moves and len(followed.calls) < steps and not followed.ended:
            self._extrapolate(steps)
        return followed

    def look(self, steps: int) -> Followed:
        """The rates of the first steps, or of as many of them as can be afforded.

        Raises:
            NotImplementedError: the user's step does not run without computing.
        """
        followed = self.followed
        if not self._moves:
            followed.rates = [(0, self._rates())]
            return followed
        with self._idle():
            self._run()  # Networks beside the side's own compute once.
            with _Cost() as cost:
                self._run()
            affordable = max(LEAST, int(BUDGET / cost.seconds))
            while len(followed.calls) < min(steps, affordable) and not followed.ended:
                self._run()
        return followed

    @property
    def _moves(self) -> bool:
        """True if there is any code that could change rates."""
        own = self._step is not None or self._overridden is not None
        return own or bool(self._pre_hooks() or self._post_hooks())

    @contextlib.contextmanager
    def _idle(self) -> Iterator[None]:
        with _without_backward(), uncompiled(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            with _computing_once(), self._counting():
                yield

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        """Has the step of PyTorch's class only count, where a user's class overrides it and may set
        rates before it calls it."""
        if self._overridden is None:
            yield
            return
        original = self._overridden.step
        self._overridden.step = lambda optimizer, closure=None: self._count(closure)
        try:
            yield
        finally:
            self._overridden.step = original

    def _rates(self) -> Rates:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _run(self) -> None:
        """One step of the user's, or of the optimizer alone where they have none."""
        self._calls = []
        try:
            if self._step is None:
                self.optimizer.zero_grad()
                self.optimizer.step()
            else:
                self._step(self.x, self.y)
        except _Ended:
            self.followed.ended = True
        except Exception as error:
            where = f" ({line})" if (line := error_line(error)) else ""
            raise NotImplementedError(
                f"the learning rates cannot be followed: `step` in extras does not run without "
                f"computing: {one_line(error)}{where}"
            ) from error
        self._check_hands()
        if self._step is None and OPTIMIZER not in self._calls:  # It is not PyTorch's own step.
            self.followed.add(len(self.followed.calls), self._known)
        self.followed.calls.append(tuple(self._calls))

    def _check_hands(self) -> None:
        """Notices rates that something else than a scheduler has set."""
        rates = self._rates()
        if rates != self._known:
            self.followed.by_hand, self._known = True, rates

    def _count(self, closure: Callable[[], Any] | None = None) -> Any:
        """Stands in for the optimizer's step: its hooks run, and no parameter moves."""
        result = closure() if closure is not None else None
        by_torch = self._overridden is not None  # PyTorch calls the hooks around a user's step.
        for hook in () if by_torch else self._pre_hooks():
            hook(self.optimizer, (), {})
        self._check_hands()
        self.followed.add(len(self.followed.calls), self._known)
        self._calls.append(OPTIMIZER)
        for hook in () if by_torch else self._post_hooks():
            hook(self.optimizer, (), {})
        return result

    def _pre_hooks(self) -> list[Callable[..., Any]]:
        own = getattr(self.optimizer, "_optimizer_step_pre_hooks", {})
        return [*_global_optimizer_pre_hooks.values(), *own.values()]

    def _post_hooks(self) -> list[Callable[..., Any]]:
        own = getattr(self.optimizer, "_optimizer_step_post_hooks", {})
        return [*own.values(), *_global_optimizer_post_hooks.values()]

    def _watch(self, position: int, scheduler: Scheduler) -> None:
        """Logs when the user steps a scheduler; one that follows a metric is kept from moving."""
        original = scheduler.scheduler.step

        def step(*args: Any, **kwargs: Any) -> None:
            if not self._inside:
                self._calls.append(position)
                self._check_hands()
            if scheduler.follows_a_metric:
                return
            self._inside += 1
            try:
                original(*args, **kwargs)
            except ValueError as error:  # As OneCycleLR when it is asked for more steps.
                raise _Ended from error
            finally:
                self._inside -= 1
            self._known = self._rates()

        scheduler.scheduler.step = step

    def _replace_network(self) -> None:
        """Puts the output of one run in the place of the network, and one loss in the loss's."""
        submission = self.submission
        if submission.called is not submission.module:
            return  # What it gives is no one tensor.
        with uncompiled(), torch.no_grad():
            output = submission.module(self.x)
        # What was computed once may be changed in place by the user's code.
        give = lambda *args, **kwargs: output.clone().requires_grad_()  # noqa: E731
        for module in {submission.module, submission.network}:
            module.__dict__["forward"] = give
            module.__dict__["_compiled_call_impl"] = None
        if isinstance(submission.loss, nn.Module):
            with uncompiled(), torch.no_grad():
                loss = submission.loss(output, self.y)
            submission.loss.__dict__["forward"] = lambda *args, **kwargs: (
                loss.clone().requires_grad_()
            )

    def _extrapolate(self, steps: int) -> None:
        """Goes on by moving the schedulers in the pattern in which they were moved so far.

        Raises:
            FollowedPartly: it does not follow from what was seen how rates go on.
        """
        followed = self.followed
        seen, period = len(followed.calls), followed.pattern()
        moved = any(call != OPTIMIZER for calls in followed.calls for call in calls)
        if followed.by_hand or not moved or period is None:
            raise FollowedPartly(
                followed.rates,
                seen,
                "the user's step takes too long, even without computing, for more, and no "
                "scheduler of PyTorch's moves the rates regularly",
            )
        with self._idle():
            for step in range(seen, steps):
                for call in followed.calls[step % period]:
                    if call == OPTIMIZER:
                        followed.add(step, self._known)
                        continue
                    try:
                        self.submission.schedulers[call].scheduler.step()
                    except _Ended:
                        followed.ended = True
                        return


class _Ended(BaseException):
    """A scheduler refuses to go on; no `except Exception` of the user's stops it."""


def overridden(optimizer: Any) -> Any:
    """The optimizer of PyTorch's whose ``step`` a class of the user's overrides; None where no
    class does."""
    classes = [cls for cls in type(optimizer).__mro__ if "step" in vars(cls)]
    files = [getattr(sys.modules.get(cls.__module__), "__file__", None) for cls in classes]
    if not files or not (files[0] is None or is_users(files[0])):
        return None
    pytorchs = [cls for cls in classes if cls.__module__.startswith("torch.optim.")]
    return pytorchs[0] if pytorchs and pytorchs[0] is not torch.optim.Optimizer else None


@contextlib.contextmanager
def _computing_once() -> Iterator[None]:
    """Has each module with parameters give what it gave for its first input of the same shape.

    A step may call other networks than the side's own, such as those of a GAN. Modules without
    parameters, such as losses, may count, and run.
    """
    original = nn.Module.__call__
    outputs: dict[Any, tuple[nn.Module, Any]] = {}  # With the module, so that no other has its id.

    def give(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if next(module.parameters(), None) is None:
            return original(module, *args, **kwargs)
        shapes = tuple(tensor.shape for tensor in tensors((args, kwargs)))
        key = (id(module), module.training, shapes)
        if key not in outputs:
            outputs[key] = module, original(module, *args, **kwargs)
        return tree_map_only(Tensor, _copy, outputs[key][1])

    nn.Module.__call__ = give
    try:
        yield
    finally:
        nn.Module.__call__ = original


def _copy(tensor: Tensor) -> Tensor:
    """A tensor that the user's code may change in place."""
    return tensor.clone().requires_grad_(tensor.is_floating_point())


@contextlib.contextmanager
def _without_backward() -> Iterator[None]:
    """Has PyTorch's `backward` do nothing, whoever calls it."""
    original = torch.autograd.backward
    torch.autograd.backward = lambda *args, **kwargs: None
    try:
        yield
    finally:
        torch.autograd.backward = original
