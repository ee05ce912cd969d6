"""A side in float64: the default type in which its code runs, and what is converted."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from diptych.auditing.frameworks.precision import within
from diptych.auditing.frameworks.torch.submission import Submission

UNUSED_BITS = 0xFFF
"""The last 12 of float32's 23 bits. Numbers such as 0.5, 3 or 1000 leave them zero; a number that
was rounded to float32 hardly does."""


@contextmanager
def default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Sets PyTorch's default floating-point type for the time, unless it is None."""
    before = torch.get_default_dtype()
    if dtype is not None:
        torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        if dtype is not None:
            torch.set_default_dtype(before)


in_own_precision = within(lambda owner: default_dtype(owner.precision))
"""Has a method run with its owner's precision as PyTorch's default."""


def convert(submission: Submission) -> set[str]:
    """Converts the module and the loss of a build to float64, in place.

    The optimizer holds the same parameters before and after.

    Returns:
        The names of buffers that hold numbers which were rounded to float32.

    Raises:
        NotImplementedError: something in it is of low precision by the user's own choice.
    """
    if torch.get_default_dtype() != torch.float64:
        raise NotImplementedError("the function sets PyTorch's default dtype itself")
    rounded = set()
    for owner, module in (("the module", submission.module), ("the loss", submission.loss)):
        if not isinstance(module, nn.Module):
            continue
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point() and tensor.dtype.itemsize < 4:
                raise NotImplementedError(f"`{name}` of {owner} is {plain(tensor.dtype)}")
        for name, buffer in module.named_buffers():
            if is_rounded(buffer):
                if module is submission.loss or name not in module.state_dict():
                    raise NotImplementedError(
                        f"`{name}` of {owner} holds numbers rounded to {plain(buffer.dtype)}"
                    )
                rounded.add(name)
        module.double()
    for group in submission.optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.is_floating_point() and parameter.dtype != torch.float64:
                raise NotImplementedError(
                    f"the optimizer holds {plain(parameter.dtype)} parameters that are not the "
                    "module's"
                )
    return rounded


def is_rounded(tensor: Tensor) -> bool:
    """True if a tensor holds numbers of fewer bits than float64 that use all of their bits."""
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return False
    if tensor.dtype != torch.float32:
        return tensor.numel() > 0
    with torch._C.DisableTorchFunction():
        bits = tensor.detach().cpu().contiguous().view(torch.int32)
        return bool((bits & UNUSED_BITS).any())


def plain(dtype: torch.dtype) -> str:
    """Such as ``float32``."""
    return str(dtype).removeprefix("torch.")
