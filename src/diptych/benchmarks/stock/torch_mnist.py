"""The example ``mnist`` of pytorch/examples: two convolutions, Adadelta, fourteen epochs.

Source: github.com/pytorch/examples, ``mnist``. It describes 32 and 64 filters of 3×3 without
padding, max pooling, dropout of 0.25, 128 units, dropout of 0.5; batches of 64, Adadelta at 1.0,
the rate times 0.7 after each epoch; pixels less their mean of 0.1307, over their deviation of
0.3081. Here the images are normalised once, before the training, where the example decodes and
normalises each one whenever it is drawn: that saves this side time. They are shuffled, as the
example does on an accelerator.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from diptych.benchmarks.stopwatch import Stopwatch

MEAN, DEVIATION = 0.1307, 0.3081


def normalised(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, 28, 28, 1) as float32 (n, 1, 28, 28) with a mean near 0 and a deviation near 1."""
    x = torch.from_numpy(images.astype("float32")).permute(0, 3, 1, 2).contiguous() / 255
    return (x - MEAN) / DEVIATION


def predictor(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images to predicted labels, a thousand at a time."""

    @torch.no_grad()
    def predict(images: np.ndarray) -> np.ndarray:
        model.eval()
        parts = [model(part).argmax(1) for part in normalised(images).split(1000)]
        return torch.cat(parts).numpy()

    return predict


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.log_softmax(self.classifier(self.features(x)), dim=1)


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    torch.manual_seed(seed)
    clock.start()
    digits = TensorDataset(normalised(images), torch.from_numpy(labels))
    batches = DataLoader(digits, batch_size=64, shuffle=True)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    model.train()
    for _epoch in range(length):
        for x, y in batches:
            optimizer.zero_grad()
            functional.nll_loss(model(x), y).backward()
            optimizer.step()
        scheduler.step()
    clock.stop()
    return predictor(model)
