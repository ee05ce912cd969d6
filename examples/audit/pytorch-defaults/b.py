"""The same classifier in plain PyTorch, with whatever PyTorch has where nothing is said."""

# pyright: reportArgumentType=false

import torch
from torch import nn


def build():
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(5 * 5 * 32, 10),
    )
    return module, nn.CrossEntropyLoss(), torch.optim.Adam(module.parameters())
