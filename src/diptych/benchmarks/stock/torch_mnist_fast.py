"""The last network of train_mnist_fast: one epoch, one cycle of the rate, all images in memory.

Source: github.com/tuomaso/train_mnist_fast, step 8. It describes convolutions of 24 filters of 5×5
and 32 of 3×3 without padding, each pooled before its relu, and 256 units; one epoch in batches of
256; Adam with betas of 0.7 and 0.9 through PyTorch's one cycle up to 0.01. The images are
normalised and shuffled once, beforehand, and each epoch takes them in that order. Its authors count
0.76 s on a GTX 1660 Ti, without that preparation, which is not counted here either.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from diptych.benchmarks.stock.torch_mnist import normalised, predictor
from diptych.benchmarks.stopwatch import Stopwatch

BATCH, PEAK = 256, 0.01


def build() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10), nn.LogSoftmax(1),
    )  # fmt: skip


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    torch.manual_seed(seed)
    order = torch.randperm(len(labels))
    x, y = normalised(images)[order], torch.from_numpy(labels)[order]
    clock.start()
    model, steps = build(), length * -(-len(x) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=PEAK, betas=(0.7, 0.9))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK, total_steps=steps, cycle_momentum=False
    )
    for _epoch in range(length):
        for batch, targets in zip(x.split(BATCH), y.split(BATCH), strict=True):
            optimizer.zero_grad()
            functional.nll_loss(model(batch), targets).backward()
            optimizer.step()
            scheduler.step()
    clock.stop()
    return predictor(model)
