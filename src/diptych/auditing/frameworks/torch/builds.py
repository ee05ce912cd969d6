"""Builds of the user's module, loss and optimizer."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from diptych.auditing.frameworks.torch.copies import Copying, copied_anew
from diptych.auditing.frameworks.torch.packed import packed
from diptych.auditing.frameworks.torch.parameters import as_array, named_tensors
from diptych.auditing.frameworks.torch.running import forward, mode, own_randomness
from diptych.auditing.frameworks.torch.schedulers import schedulers_made
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.torch.twin import convert
from diptych.auditing.frameworks.users import user_line, users_code
from diptych.errors import InputError


class Builds:
    """The user's function, called as often as the audit needs."""

    def __init__(self, function: Callable[[int], Any], precision: torch.dtype | None) -> None:
        """Builds for the first time.

        Args:
            function: gives what the user's function returns, for a seed.
            precision: float64 to convert what is built, None to leave it as it is.
        """
        self._function, self._precision = function, precision
        self._several: int | None = None
        self.rounded: set[str] = set()
        """Buffers of a float64 build that hold numbers which were rounded to float32."""
        with creation_lines() as self.lines, own_randomness():
            self.first = self._submitted(0)
        self.module = self.first.module

    def _submitted(self, seed: int) -> Submission:
        with users_code("the function"), schedulers_made() as schedulers, Copying() as copying:
            returned = self._function(seed)
        submission = packed(Submission.of(returned, schedulers), as_array, self._several)
        submission.copies = copying.of(submission.module)
        self._several = submission.several
        if self._precision is not None:
            self.rounded = convert(submission)
        return submission

    def another(self, seed: int, x: Tensor) -> Submission:
        """Another build, with its own parameters.

        Args:
            seed: for the user's function.
            x: inputs to give lazy modules their shapes.

        Raises:
            InputError: the function gives the same module again.
        """
        submission = self._submitted(seed)
        if submission.called is self.first.called:
            raise InputError(
                "the function gives the same module whenever it is called: make the module, the "
                "loss and the optimizer inside it"
            )
        if any(is_lazy(tensor) for tensor in submission.module.state_dict().values()):
            forward(submission, x)
        return submission

    def fresh(self, x: Tensor) -> Submission:
        """Another build, with a fresh optimizer and the present parameters of the first.

        Raises:
            InputError: the function gives another network each time.
        """
        with own_randomness():
            submission = self.another(0, x)
        present, own = (
            dict(module.named_parameters()) | dict(module.named_buffers())
            for module in (self.module, submission.module)
        )
        if {n: t.shape for n, t in present.items()} != {n: t.shape for n, t in own.items()}:
            raise InputError(
                "the function gives another network each time: make the same one at every call"
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(present[name])
        copied_anew(submission.copies, submission.module)
        return submission

    def run(self, x: Tensor) -> Tensor:
        """The first build's output in inference.

        Raises:
            InputError: it fails, or does not give a tensor with one entry for each example.
        """
        with mode(self.module, training=False), own_randomness():
            output = forward(self.first, x.to(self.device))
        if output.shape[:1] != x.shape[:1]:
            raise InputError(
                f"the module, on an input of shape {tuple(x.shape)}, gives {tuple(output.shape)}, "
                "where the first axis is not the batch's"
            )
        return output

    @property
    def device(self) -> torch.device:
        """The places of the first build's parameters."""
        return next(iter(named_tensors(self.module).values()), torch.empty(0)).device


@contextmanager
def creation_lines() -> Iterator[dict[int, str | None]]:
    """Keeps for each module made meanwhile, by its identity, the user's line that makes it."""
    lines: dict[int, str | None] = {}
    original = nn.Module.__init__

    @functools.wraps(original)
    def recording(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        lines[id(self)] = user_line(sys._getframe(1), made=self)
        original(self, *args, **kwargs)

    nn.Module.__init__ = recording
    try:
        yield lines
    finally:
        nn.Module.__init__ = original
