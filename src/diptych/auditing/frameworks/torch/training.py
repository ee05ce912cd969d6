"""The loss and its gradients as in training, with dropout off or on."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.compiling import (
    graphs_compiled,
    room_for_graphs,
    uncompiled,
)
from diptych.auditing.frameworks.torch.dependence import (
    MORE,
    depends_on_more,
    weights_moved,
)
from diptych.auditing.frameworks.torch.dropout import Quiet, set_rates_to_zero
from diptych.auditing.frameworks.torch.inputs import Inputs
from diptych.auditing.frameworks.torch.packed_module import PackedModule
from diptych.auditing.frameworks.torch.running import (
    buffers_kept,
    drawing_from,
    forward,
    loss_of,
    loss_of_accumulation,
    loss_of_step,
)
from diptych.auditing.frameworks.torch.submission import Submission

Result = TypeVar("Result")


class Training:
    """Fresh builds that train as their user trains them."""

    def __init__(
        self, builds: Builds, inputs: Inputs, compiled: bool, dropout_line: str | None
    ) -> None:
        """Knows a side.

        Args:
            builds: of the side.
            inputs: that it runs on.
            compiled: whether anything in it is compiled, as far as that is known.
            dropout_line: the user's line that calls dropout as a function, if any does.
        """
        self._builds, self._inputs = builds, inputs
        self._compiled, self._dropout_line = compiled, dropout_line
        self.silenced = False
        """True if the last computation without dropout had any to switch off."""

    def fresh(self) -> Submission:
        """A build with a fresh optimizer and the present parameters."""
        return self._builds.fresh(self._inputs.batch(len(self._inputs.x)))

    @property
    def compiled(self) -> bool:
        """True where anything that was run so far is compiled."""
        return self._compiled

    def without_dropout(self, run: Callable[[Submission], Result]) -> Result:
        """Computes with a fresh build that has its dropout off and else runs as its user runs it.

        Raises:
            NotImplementedError: it is compiled, and drops out by a call of a function, which cannot
                be replaced without breaking the compiled graph.
        """
        submission, graphs = self.fresh(), graphs_compiled()
        if not self._compiled:
            with Quiet(submission.module) as quiet:
                result = run(submission)
            self.silenced = quiet.silenced
            if graphs_compiled() == graphs:
                return result
            # Something in it is compiled after all, and its graph was broken.
            self._compiled, submission = True, self.fresh()
        if self._dropout_line is not None:
            raise NotImplementedError(
                f"dropout in compiled code is called as a function ({self._dropout_line}), which "
                "cannot be switched off: use torch.nn.Dropout"
            )
        set_rates_to_zero(submission.module)
        with room_for_graphs():
            return run(submission)

    def with_all(self, run: Callable[[Submission], Result]) -> Result:
        """Computes with a fresh build, with everything that it draws in training."""
        return run(self.fresh())

    def loss_in_training(
        self, x: Tensor, y: Tensor, accumulated: int = 1, drawing: bool = False
    ) -> tuple[Submission, Tensor, float]:
        """The build, what it calls `backward` on for a batch, and the loss itself.

        Args:
            x, y: the batch.
            accumulated: over how many steps of the user's own gradients accumulate. What they call
                `backward` on then counts as often, as if all of those batches were this one.
            drawing: whether dropout and noise stay on.
        """
        compute = self.with_all if drawing else self.without_dropout
        if accumulated > 1:
            submission, both = compute(lambda s: (s, loss_of_accumulation(s, x, y)))
            if both is not None:
                return submission, both[0] * accumulated, both[1].item()
        if "step" in self._builds.first.extras:
            submission, loss = compute(lambda s: (s, loss_of_step(s, x, y)))
            if loss is not None:
                loss = loss * accumulated
                return submission, loss, loss.item()
        submission, loss = compute(lambda s: (s, loss_of(s, forward(s, x), y)))
        return submission, loss, loss.item()

    def loss_of_outputs(self, output: Tensor, y: Tensor, accumulated: int = 1) -> float:
        """The loss for given outputs of the network, with all that the user's own step adds.

        Raises:
            NotImplementedError: the loss depends on more than outputs and targets.
        """
        if self._depends_on_more:
            raise NotImplementedError(MORE)
        if "step" in self._builds.first.extras:
            loss = self._loss_in_step(output, y, self._inputs.batch(len(output)), accumulated)
            if loss is not None:
                return loss
        with room_for_graphs():
            return loss_of(self._builds.first, output, y).item()

    def _loss_in_step(
        self, output: Tensor, y: Tensor, x: Tensor, accumulated: int = 1
    ) -> float | None:
        """The loss that the user's own step computes of these outputs in place of the network's
        for x; None if it does not call the network or `backward`."""
        submission, replaced = self.fresh(), []

        def replace(module: nn.Module, args: Any, own: Any) -> Any:
            replaced.append(own)
            if isinstance(submission.module, PackedModule):
                return submission.module.with_outputs(own, output)
            return output.to(own.dtype) if own.dtype == torch.float64 else output

        submission.called.register_forward_hook(replace)
        with uncompiled(), Quiet(submission.module):
            both = loss_of_accumulation(submission, x, y) if accumulated > 1 else None
            loss = both[1] if both else loss_of_step(submission, x, y)
        if loss is None or not replaced:
            return None
        return loss.item() * (1 if both else accumulated)

    @cached_property
    def _depends_on_more(self) -> bool:
        """True if the loss is not one of outputs and targets alone."""
        count = len(self._inputs.x)
        output, y = self._inputs.output.to(self._inputs.device), self._inputs.batch_targets(count)
        first = self._builds.first

        def loss_after(x: Tensor) -> float:
            with drawing_from(0):
                if "step" in first.extras:
                    loss = self._loss_in_step(output, y, x)
                    if loss is not None:
                        return loss
                with room_for_graphs(), buffers_kept(first.module):
                    forward(first, x)
                    return loss_of(first, output, y).item()

        with weights_moved(first.module):
            return depends_on_more(loss_after, self._inputs.batch(count))
