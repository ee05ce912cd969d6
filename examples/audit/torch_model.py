"""The network of keras_model.py in PyTorch; `build` is all that an audit needs."""

# pyright: reportArgumentType=false

import torch
from torch import nn


def network() -> nn.Module:
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(7 * 7 * 32, 10),
    )
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):  # Keras' initialisers, not PyTorch's own.
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return module


def build():
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    return module, nn.CrossEntropyLoss(), optimizer
