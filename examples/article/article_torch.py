"""The network article in PyTorch.

It trains by the recipe article. It needs PyTorch and NumPy. It reads MNIST's four
IDX files in the folder that is its argument, or in mnist, and downloads what is
missing there.
"""

import gzip
import sys
from pathlib import Path
from urllib.request import urlretrieve

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def load(folder):
    """Training, validation and test images in [0, 1], each with their labels."""

    def read(name, header):
        file = Path(folder, name)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            urlretrieve(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", file)
        content = gzip.decompress(file.read_bytes())
        return np.frombuffer(content, np.uint8, offset=header)

    def split(images, labels):
        x = read(images, 16).reshape(-1, 28, 28, 1)
        return x.astype(np.float32) / 255, read(labels, 8).astype(np.int64)

    x, y = split("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    test = split("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    return (x[5000:], y[5000:]), (x[:5000], y[:5000]), test


class Adam(torch.optim.Adam):
    """Adam with Keras' epsilon, which is added before the bias is corrected."""

    def __init__(self, parameters):
        super().__init__(parameters, lr=0.001, betas=(0.9, 0.999))
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        self.param_groups[0]["eps"] = 1e-7 / (1 - 0.999**self.steps) ** 0.5
        return super().step(closure)


@torch.no_grad()
def evaluate(model, x, y):
    """Loss and accuracy on images that are not trained on, 500 at a time."""
    model.eval()
    logits = torch.cat([model(images) for images in x.split(500)])
    return F.cross_entropy(logits, y), accuracy(logits, y)


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean()


def tensors(images, labels):
    """In PyTorch the channels come before the rows."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return x, torch.from_numpy(labels)


def train(folder):
    (x, y), validation, test = (tensors(*split) for split in load(folder))
    torch.manual_seed(0)
    model, loss_function, optimizer = build()
    for epoch in range(1, 11):
        model.train()
        for rows in torch.randperm(len(y)).split(50):
            logits = model(x[rows])
            loss, hits = loss_function(logits, y[rows]), accuracy(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        validation_loss, validation_hits = evaluate(model, *validation)
        print(
            f"Epoch {epoch} | Last Batch Train Loss: {loss:.4f} | "
            f"Last Batch Train Accuracy: {hits:.4f} | "
            f"Validation Loss: {validation_loss:.4f} | "
            f"Validation Accuracy: {validation_hits:.4f}",
            flush=True,
        )
    _, test_hits = evaluate(model, *test)
    print(f"Final accuracy on test set: {test_hits:.4f}")


def build():
    model = nn.Sequential(
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
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model, nn.CrossEntropyLoss(), Adam(model.parameters())


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "mnist")
