"""The search for code that rounds to fewer bits than float64, in a side that is to run in it."""

import sys
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.calls import operation, tensors
from diptych.auditing.frameworks.torch.compiling import uncompiled
from diptych.auditing.frameworks.torch.inputs import Inputs
from diptych.auditing.frameworks.torch.running import step
from diptych.auditing.frameworks.torch.training import Training
from diptych.auditing.frameworks.torch.twin import is_rounded, plain
from diptych.auditing.frameworks.users import user_line


def check(builds: Builds, inputs: Inputs, training: Training, constants: set[str]) -> None:
    """Runs network, loss and one training step of a float64 side, and looks for what rounds.

    Args:
        builds: of the side.
        inputs: that it runs on.
        training: of the side.
        constants: buffers that the network computes with and the audit does not load.

    Raises:
        NotImplementedError: something rounds; names it.
    """
    for name in sorted(builds.rounded & constants):
        raise NotImplementedError(f"`{name}` of the module holds numbers rounded to float32")
    x, y = inputs.batch(len(inputs.x)), inputs.batch_targets(len(inputs.x))
    if inputs.targets == "values" and inputs.y.dtype.kind == "f":
        # Zeros would bear any rounding. A loss may take numbers between 0 and 1 alone.
        shares = inputs.tensor(np.random.Generator(np.random.Philox(1)).random(y.shape))
        low, high = y.min(), y.max()
        y = y + shares * ((low + high) / 2 - y if high > low else 1)
    _, loss, _ = training.loss_in_training(x, y)
    submission = builds.fresh(x)
    with uncompiled(), Rounding() as rounding:
        output = builds.run(x)
        step(submission, x, y)
    if rounding.found:
        raise NotImplementedError(rounding.found)
    for name, result in (("module", output), ("loss", loss)):
        if result.is_floating_point() and result.dtype != torch.float64:
            raise NotImplementedError(f"the {name} gives {plain(result.dtype)}")


class Rounding(TorchFunctionMode):
    """Watches code that should run in float64 for the first call that rounds to fewer bits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: str | None = None
        """The operation that rounds, and the user's line if known."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.found is None and (found := self._look(func, (args, kwargs or {}), result)):
            line = user_line(sys._getframe(1))
            self.found = f"{found} ({line})" if line else found
        return result

    def _look(self, function: Any, arguments: Any, result: Any) -> str | None:
        floats = [tensor for tensor in tensors(arguments) if tensor.is_floating_point()]
        if not floats:
            return None
        name = operation(function)
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                return f"`{name}` runs under autocast to {plain(torch.get_autocast_dtype(device))}"
        if not any(tensor.dtype == torch.float64 for tensor in floats):
            return None
        for tensor in tensors(result):
            if is_rounded(tensor):
                return f"`{name}` rounds to {plain(tensor.dtype)}"
        for tensor in floats:
            if is_rounded(tensor):
                return f"`{name}` takes numbers rounded to {plain(tensor.dtype)}"
        return None
