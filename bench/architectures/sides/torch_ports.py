"""The PyTorch half of each port; the Keras half is in `keras_ports.py`.

They train by SGD with momentum: the Adams of Keras and PyTorch add their epsilon at different
places.
"""

import numpy as np
import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch_images import CLASSES, SIDE, classifier
from torch_sequences import Encoder, Recurrent, token_data


def tokens(network: nn.Module) -> SIDE:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    return network, nn.CrossEntropyLoss(), optimizer, token_data()


def lstm() -> SIDE:
    """The second bias of each layer is zero and frozen: Keras has one."""
    network = Recurrent(nn.LSTM)
    for name, parameter in network.layers.named_parameters():
        if name.startswith("bias_hh"):
            nn.init.zeros_(parameter)
            parameter.requires_grad_(False)
    return tokens(network)


def gru() -> SIDE:
    return tokens(Recurrent(nn.GRU))


def transformer() -> SIDE:
    """All projections of attention are drawn alike: Keras has one initialiser for them."""
    network = Encoder()
    for layer in network.layers:
        nn.init.uniform_(layer.self_attn.in_proj_weight, -0.25, 0.25)
        nn.init.uniform_(layer.self_attn.out_proj.weight, -0.25, 0.25)
    return tokens(network)


def mobilenet_v2() -> SIDE:
    return classifier(vision.mobilenet_v2(num_classes=CLASSES))


def resnet18() -> SIDE:
    return classifier(vision.resnet18(num_classes=CLASSES))


def block(inputs: int, filters: int) -> nn.Sequential:
    """Two convolutions, each with batch normalisation and ReLU."""
    parts: list[nn.Module] = []
    for count in (inputs, filters):
        parts += [nn.Conv2d(count, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*parts)


class UNet(nn.Module):
    """A U-Net of two levels, with dropout at its bottom."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.bottom = block(3, 8), block(8, 16), block(16, 32)
        self.pool, self.dropout = nn.MaxPool2d(2), nn.Dropout(0.3)
        self.raise_second = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.raise_first = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join_second, self.join_first = block(32, 16), block(16, 8)
        self.head = nn.Conv2d(8, CLASSES, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        second = self.second(self.pool(first))
        bottom = self.dropout(self.bottom(self.pool(second)))
        x = self.join_second(torch.cat([second, self.raise_second(bottom)], 1))
        return self.head(self.join_first(torch.cat([first, self.raise_first(x)], 1)))


def unet() -> SIDE:
    network = UNet()
    x = np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype("float32")
    y = np.random.default_rng(1).integers(0, CLASSES, (8, 16, 16))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    return network, nn.CrossEntropyLoss(), optimizer, {"data": (x, y)}
