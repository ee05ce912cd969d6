"""The same regression in PyTorch, with an error written out."""

# pyright: reportArgumentType=false

import numpy as np
import torch
from torch import nn


def build():
    module = nn.Sequential(nn.Linear(10, 30), nn.Tanh(), nn.Linear(30, 1))
    for layer in (module[0], module[2]):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    return (
        module,
        lambda output, target: torch.mean((target - output) ** 2),
        torch.optim.SGD(module.parameters(), 0.01),
        {"data": (x, np.sin(x).sum(axis=1))},
    )
