"""Stock PyTorch: ``nn.Sequential``, a ``DataLoader``, ``zero_grad``, ``backward``, ``step``."""

import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build() -> nn.Sequential:
    """The article's network."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(64, 32, 3, padding="same"),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(1568, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    model, loss_of = build(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.from_numpy(images.astype("float32") / 255).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels.astype("int64"))
    batches = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    model.train()
    start, steps = 0.0, 0
    for batch, targets in batches:
        if steps == warm_up:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(model(batch), targets)
        loss.backward()
        optimizer.step()
        steps += 1
    return (time.perf_counter() - start) / (steps - warm_up)
