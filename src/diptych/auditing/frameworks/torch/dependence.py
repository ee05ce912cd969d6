"""The search for a loss that depends on more than the outputs and targets that it is given.

A loss may read what the network's forward left in the module, such as the mean of a variational
autoencoder, and a step may compute its loss of the inputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from diptych.errors import InputError

MORE = (
    "the loss depends on what the network's forward left behind, or on the inputs: it takes no "
    "other outputs"
)
"""The reason why such a loss cannot be asked about outputs of the audit's choice."""


def depends_on_more(loss_after: Callable[[Tensor], float], x: Tensor) -> bool:
    """True if the loss of the same outputs and targets is another one after a forward of other
    inputs. False for a loss that varies by itself.

    Args:
        loss_after: gives the loss of certain outputs and targets after a forward of some inputs,
            with the same random numbers each time.
        x: inputs of the network, (n, …).
    """
    try:
        first, again = loss_after(x), loss_after(x)
    except InputError:
        return False  # It cannot be asked at all, which is told where it is asked.
    if first != again:
        return False
    for other in _others(x):
        try:
            if loss_after(other) != first:
                return True
        except InputError:
            continue  # The network does not take these inputs.
    return False


def _others(x: Tensor) -> Iterator[Tensor]:
    """Other inputs of the same shape. A mean over the batch does not depend on its order, and
    examples may be alike."""
    yield x[:1].expand_as(x).clone()
    if x.is_floating_point():
        yield torch.flip(x, [0]) * 0.5


@contextmanager
def weights_moved(module: nn.Module) -> Iterator[None]:
    """Random numbers added to all weights for a while: with zeros, which the audit loads for some
    questions, a network gives the same for all inputs."""
    kept = [(parameter, parameter.detach().clone()) for parameter in module.parameters()]
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter, value in kept:
            if value.is_floating_point():
                moves = torch.randn(value.shape, generator=chance).to(value)
                parameter.copy_(value + 0.1 * moves)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
