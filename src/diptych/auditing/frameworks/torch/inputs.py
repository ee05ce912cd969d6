"""Inputs of a module and its loss, and defaults if the user defines none."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.defaults import EXAMPLES, IMAGE, may_be_drawn, rows_of
from diptych.auditing.frameworks.packing import OWN
from diptych.auditing.frameworks.torch.builds import Builds
from diptych.auditing.frameworks.torch.parameters import as_array
from diptych.auditing.frameworks.users import users_code
from diptych.errors import InputError

IMAGE_SHAPES = [(1, 28, 28), (28, 28), (784,), (28, 28, 1)]
"""The forms in which a raw image may be passed to a module."""
LENGTHS = (12, 16, 32, 64)
"""The numbers of token ids per example that are tried for a module."""
F = nn.functional
CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
CLASS_FUNCTIONS = (F.cross_entropy, F.nll_loss)
BINARY_LOSSES = (nn.BCELoss, nn.BCEWithLogitsLoss)
BINARY_FUNCTIONS = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits)
VALUE_LOSSES = (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss)
VALUE_FUNCTIONS = (F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss)

Loss = Callable[..., Any]


@dataclass(frozen=True)
class Inputs:
    """A few inputs that a module runs on, and targets for them."""

    x: Tensor
    """(n, …), in PyTorch's layout, on the processor."""
    y: np.ndarray
    output: Tensor
    """The module's, in inference."""
    targets: str
    """The targets that the loss takes; see `Adapter.targets`."""
    device: torch.device
    precision: torch.dtype | None

    def batch(self, count: int) -> Tensor:
        """As many of the inputs as are wanted, over and over."""
        return self.x[torch.arange(count) % len(self.x)].to(self.device)

    def batch_targets(self, count: int) -> Tensor:
        """The targets of `batch`."""
        y = self.target(self.y)
        return y[torch.arange(count) % len(y)]

    def target(self, targets: np.ndarray) -> Tensor:
        """Targets as the loss takes them."""
        if self.targets == "classes":
            return self.tensor(targets).long()
        if self.targets == OWN and self.y.dtype.kind in "iub" and self.y[0].size != self.units:
            return self.tensor(targets.astype(self.y.dtype))
        double = torch.float64 in (self.output.dtype, self.precision)
        return self.tensor(targets).to(torch.float64 if double else torch.float32)

    @property
    def units(self) -> int:
        """How many numbers the module gives for an example."""
        return self.output[0].numel()

    def tensor(self, array: np.ndarray) -> Tensor:
        """An array as a tensor on the module's device."""
        tensor = torch.tensor(np.ascontiguousarray(array), device=self.device)
        # An axis of one may keep a stride that users' `view` stumbles over.
        return tensor.clone(memory_format=torch.contiguous_format)


def find(builds: Builds, precision: torch.dtype | None) -> Inputs:
    """Inputs from the user's data, or such as the module runs on.

    Raises:
        InputError: no inputs are found on which it runs.
    """
    submission = builds.first
    if "prepare" in submission.extras or "data" in submission.extras:
        images = np.zeros((EXAMPLES, *IMAGE), np.uint8)
        given, targets = prepared(submission.extras, images, np.arange(EXAMPLES))
        if isinstance(given, Tensor):
            x = given.detach().cpu()
            if precision is not None and x.is_floating_point():
                x = x.to(precision)
        else:
            x = _own_precision(builds.module, np.asarray(given), precision)
        output, y = builds.run(x), as_array(targets)
        kind = submission.targets or _targets(submission.loss, output, y)
    else:
        x, output = _runnable(builds, precision)
        kind = _targets(submission.loss, output, None)
        whole = kind == "classes"
        y = np.zeros(EXAMPLES, np.int64) if whole else np.zeros(output.shape, np.float32)
    return Inputs(x, y, output, kind, builds.device, precision)


def prepared(extras: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
    """The user's preparation of raw images and labels by ``prepare``, or their ``data``."""
    if "prepare" not in extras:
        pair(extras["data"], "`data` in extras")
        x, y = extras["data"]
        rows = rows_of(len(x), len(images))
        return _rows(x, rows), _rows(y, rows)
    with users_code("`prepare` in extras"):
        made = extras["prepare"](images, labels)
    pair(made, "`prepare` in extras")
    return made


def _rows(values: Any, rows: np.ndarray) -> Any:
    return values[torch.as_tensor(rows)] if isinstance(values, Tensor) else np.asarray(values)[rows]


def pair(value: Any, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, tensors or arrays, as arrays.

    Raises:
        InputError: it is no pair; ``source`` says who gave it.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"{source} gave a {type(value).__name__}: give a pair (x, y)")
    x, y = (as_array(part) for part in value)
    return x, y


def _runnable(builds: Builds, precision: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """Random inputs of the first likely shape on which the module runs, and its output."""
    numbers = np.random.Generator(np.random.Philox(0))
    failures = []
    for x in tokens(builds.module):
        with contextlib.suppress(InputError):
            return x, builds.run(x)
    for shape in dict.fromkeys([*_likely_shapes(builds.module), *IMAGE_SHAPES]):
        numbers_of_shape = numbers.random((EXAMPLES, *shape), np.float32)
        x = _own_precision(builds.module, numbers_of_shape, precision)
        try:
            return x, builds.run(x)
        except InputError as error:
            failures.append(str(error))
    raise InputError(
        f"{failures[0]}: say what it takes by `data` or `prepare` in extras, such as "
        "{'data': (x, y)}"
    )


def tokens(module: nn.Module) -> Iterator[Tensor]:
    """Token ids of likely lengths, int64 (EXAMPLES, length), where the first layer with parameters
    is an embedding."""
    first = next((m for m in module.modules() if next(m.parameters(False), None) is not None), None)
    if not isinstance(first, nn.Embedding):
        return
    widths = [m.in_features for m in module.modules() if isinstance(m, nn.Linear)]
    fitting = [width // first.embedding_dim for width in widths if width % first.embedding_dim == 0]
    for length in dict.fromkeys([n for n in fitting if n > 1] + list(LENGTHS)):
        numbers = np.random.Generator(np.random.Philox(0))
        yield torch.tensor(numbers.integers(first.num_embeddings, size=(EXAMPLES, length)))


def _own_precision(module: nn.Module, x: np.ndarray, precision: torch.dtype | None) -> Tensor:
    """An array as a tensor, with the module's kind of floating-point numbers."""
    tensor = torch.tensor(x)
    own = precision or next(iter(module.parameters()), tensor).dtype
    return tensor.to(own) if tensor.is_floating_point() and own.is_floating_point else tensor


def _likely_shapes(module: nn.Module) -> list[tuple[int, ...]]:
    """Input shapes that the first layer with parameters may be made for."""
    for part in module.modules():
        match part:
            case nn.Conv1d(in_channels=channels):
                return [(channels, 784 // channels)] if 784 % max(channels, 1) == 0 else []
            case nn.Linear(in_features=784):
                return []
            case nn.Linear(in_features=features) if features:
                return [(features,)]
            case nn.RNNBase(input_size=size) if 784 % size == 0:
                return [(784 // size, size)]
        if next(part.parameters(recurse=False), None) is not None:
            break
    return []


def _targets(loss: Loss, output: Tensor, y: np.ndarray | None) -> str:
    """The targets that the loss takes: from its kind, the user's targets, or else by trying."""
    axes = output.shape[1:]
    units = 1 if not axes else int(axes[0] if _is_by_channel(loss, output, y) else axes[-1])
    if isinstance(loss, CLASS_LOSSES) or loss in CLASS_FUNCTIONS:
        return "classes" if y is None or y.ndim == output.ndim - 1 else "one_hot"
    if isinstance(loss, BINARY_LOSSES) or loss in BINARY_FUNCTIONS:
        return "binary" if units == 1 else "one_hot"
    if y is not None and (isinstance(loss, nn.KLDivLoss) or loss is F.kl_div):
        return OWN
    if isinstance(loss, VALUE_LOSSES) or loss in VALUE_FUNCTIONS:
        return "values"
    if y is not None:
        integers = np.issubdtype(y.dtype, np.integer)
        classes = integers and y.shape in (output.shape[:-1], (*output.shape[:1], *axes[1:]))
        if classes and units > 1:
            return "classes"
        return "values" if may_be_drawn(y, axes) else OWN
    return "classes" if units > 1 and _takes_classes(loss, output) else "values"


def _is_by_channel(loss: Loss, output: Tensor, y: np.ndarray | None) -> bool:
    """True if the outputs for one place lie along the second axis, as PyTorch's losses have it."""
    if output.ndim < 3:
        return False
    if y is not None and y.ndim == output.ndim - 1:
        return y.shape != output.shape[:-1]
    return output.ndim > 3 or isinstance(loss, CLASS_LOSSES) or loss in CLASS_FUNCTIONS


def _takes_classes(loss: Loss, output: Tensor) -> bool:
    if output.shape[-1] == EXAMPLES:
        output = output[:2]  # Or targets of the output's shape might be taken for classes.
    target = torch.zeros(len(output), dtype=torch.long, device=output.device)
    try:
        return loss(output, target).numel() == 1
    except Exception:
        return False
