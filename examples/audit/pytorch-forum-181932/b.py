"""The same classifier in PyTorch, translated layer by layer, the last one too."""

# pyright: reportArgumentType=false

import torch
from torch import nn


def build():
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d((2, 2)),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d((2, 2)),
        nn.Flatten(),
        nn.Linear(5 * 5 * 16, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
        nn.Softmax(dim=1),
    )
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):  # As Keras starts.
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module, nn.CrossEntropyLoss(), torch.optim.SGD(module.parameters(), 0.01)
