"""PyTorch's ``DistributedDataParallel``: one training over several processes.

Each process computes the loss of its rows of a batch; the gradients are summed over the processes
in the backward pass, and each then takes the same step. What is random, the order of the images,
their augmentation and dropout, is drawn for the whole batch in each of them, so that it does not
depend on how many there are.
"""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from diptych.workflows.group import Group
from diptych.workflows.torch.model import Model, to_tensor


class WholeBatchDropout(nn.Dropout):
    """Dropout of some rows of a batch, which drops there what it would drop of the whole batch."""

    share: tuple[slice, int] = slice(0, 0), 0
    """Which rows, of how many."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p:
            return input
        rows, count = self.share
        # Drawn in the order of the memory, which for images is channels last.
        order = torch.channels_last if input.ndim == 4 else torch.contiguous_format
        shape = (count, *input.shape[1:])
        ones = torch.ones(shape, dtype=input.dtype).contiguous(memory_format=order)
        return input * F.dropout(ones, self.p)[rows]


def meet(group: Group) -> None:
    """Waits until all processes of the group are there."""
    dist.init_process_group(
        "gloo", init_method=group.rendezvous.split(",")[0], rank=group.rank, world_size=group.size
    )


class Parallel:
    """This process's part of a training in several, which have met.

    Args:
        group: the processes.
        model: the module, whose weights are those of all processes.
    """

    def __init__(self, group: Group, model: Model) -> None:
        self.group, self.model = group, model
        self.module: DistributedDataParallel | None = None
        self.frozen: frozenset[str] = frozenset()
        self.dropouts: list[WholeBatchDropout] = []
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Dropout):
                    self.dropouts.append(WholeBatchDropout(child.p))
                    setattr(parent, name, self.dropouts[-1])

    def loss_and_accuracy(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str]
    ) -> tuple[Tensor, float]:
        """This process's share of the loss of one batch, to be derived, and of the accuracy.

        Their means over the processes (`means`) are those of the whole batch; so are the means of
        the gradients, which the backward pass takes.
        """
        if self.module is None or frozen != self.frozen:  # It notes what has gradients once.
            self.module, self.frozen = DistributedDataParallel(self.model), frozen
        rows, count = self.group.rows(len(labels)), len(labels)
        for layer in self.dropouts:
            layer.share = (rows, count)
        logits, truth = self.module(to_tensor(images[rows])), torch.from_numpy(labels[rows])
        scale = self.group.size / count
        loss = F.cross_entropy(logits, truth, reduction="sum") * scale
        return loss, (logits.argmax(1) == truth).sum().item() * scale

    def means(self, *values: float) -> list[float]:
        """The mean of each value over the processes."""
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return (sums / self.group.size).tolist()

    def agreed(self, stop: bool) -> bool:
        """True where the first process stops; the others do as it does."""
        flag = torch.tensor([int(stop)])
        dist.broadcast(flag, 0)
        return bool(flag.item())

    def together(self, chunks: list[Tensor]) -> Tensor:
        """The rows of all chunks, where each process has computed every so many of them.

        Args:
            chunks: of the logits, float32; those of other processes are zero.
        """
        logits = torch.cat(chunks)
        dist.all_reduce(logits)
        return logits

    def computes(self, chunk: int) -> bool:
        """True where this process computes that chunk of the images at inference."""
        return chunk % self.group.size == self.group.rank
