"""Training steps of a side, and what its network computes after them."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.torch.batching import Batch, Batching
from diptych.auditing.frameworks.torch.compiling import room_for_graphs
from diptych.auditing.frameworks.torch.layout import to_graph, to_numpy
from diptych.auditing.frameworks.torch.network import Network
from diptych.auditing.frameworks.torch.packed import PackedModule
from diptych.auditing.frameworks.torch.parameters import named_tensors
from diptych.auditing.frameworks.torch.running import (
    STEP,
    begin_randomness,
    check_output,
    forward,
    mode,
    step,
)
from diptych.auditing.frameworks.torch.submission import Submission
from diptych.auditing.frameworks.torch.trace import Reached
from diptych.auditing.frameworks.torch.training import Training
from diptych.auditing.frameworks.users import users_code
from diptych.auditing.gradients import Keep
from diptych.auditing.graph import Arrays


class Steps:
    """Takes training steps with fresh builds of a side."""

    def __init__(
        self, module: nn.Module, network: Network, batching: Batching, training: Training
    ) -> None:
        """Knows a side.

        Args:
            module: has the parameters that every build begins with.
            network, batching, training: of the side.
        """
        self._module, self._network = module, network
        self._batching, self._training = batching, training

    @property
    def silenced(self) -> bool:
        """True if dropout or noise was switched off in the last call of `without_dropout`."""
        return self._training.silenced

    def without_dropout(
        self, batches: Iterable[Batch], keep: Keep, x: np.ndarray | None, averages: Collection[str]
    ) -> tuple[list[float], list[Arrays], np.ndarray | None]:
        """As `Adapter.steps_then_predict`, without predictions if there is no ``x``."""

        def run(submission: Submission) -> tuple[list[float], list[Arrays], np.ndarray | None]:
            losses, after = [], []
            for batch, targets in batches:
                given, y = self._network.input(batch), self._batching.target(targets)
                losses.append(step(submission, given, y))
                after.append(keep(self._network.views_of(submission.module)))
            if x is None:
                return losses, after, None
            put_back(self._module, submission.module, averages)
            with mode(submission.module, training=False):
                output = forward(submission, self._network.input(x))
            return losses, after, self._array(output)

        return self._training.without_dropout(run)

    def outputs_after(
        self, batches: Iterable[Batch], x: np.ndarray, targets: np.ndarray, seeds: Iterable[int]
    ) -> np.ndarray:
        """As `Adapter.later_outputs`."""
        given, y = self._network.input(x), self._batching.target(targets)
        outputs = []
        with room_for_graphs():
            submission = self._training.fresh()
            for batch, own in batches:
                step(submission, self._network.input(batch), self._batching.target(own))
            put_back(self._module, submission.module)
            for seed in seeds:
                begin_randomness(seed)
                outputs.append(self._array(_output_in_step(submission, given, y)))
        return np.stack(outputs)

    def _array(self, output: Tensor) -> np.ndarray:
        """The network's output in the graph's layout."""
        return to_graph(to_numpy(output), self._network.reading(True).output_layout)


def put_back(source: nn.Module, module: nn.Module, averages: Collection[str] = ()) -> None:
    """Copies the trained parameters of another build of a module, and the moving averages of these
    names; all else stays as it is, such as counters."""
    own = named_tensors(module)
    with torch.no_grad():
        for name, tensor in named_tensors(source).items():
            if tensor.requires_grad or own[name].requires_grad or name in averages:
                own[name].copy_(tensor)


def _output_in_step(submission: Submission, x: Tensor, y: Tensor) -> Tensor:
    """The output of the network in a training step, which ends there.

    Raises:
        NotImplementedError: the user's own step does not call the network.
    """
    if "step" not in submission.extras:
        return forward(submission, x)
    if isinstance(submission.module, PackedModule):
        raise NotImplementedError("its own step calls a network of several inputs or outputs")

    def stop(module: nn.Module, args: Any, output: Tensor) -> None:
        raise Reached(output)

    hook = submission.called.register_forward_hook(stop)
    try:
        with users_code(STEP):
            submission.extras["step"](x, y)
    except Reached as reached:
        check_output(reached.value)
        return reached.value
    finally:
        hook.remove()
    raise NotImplementedError("its own step does not call the network")
