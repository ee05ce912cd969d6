"""tinygrad's ``beautiful_mnist``: 70 jitted steps of 512 images that are drawn with replacement.

Source: github.com/tinygrad/tinygrad, ``examples/beautiful_mnist.py``. It describes two blocks of
two convolutions (32 filters of 5×5, 64 of 3×3, without padding), a batch normalisation and max
pooling each, a linear layer, and Adam with tinygrad's defaults, on pixels from 0 to 255. tinygrad's
device for processors compiles by ``clang``, or by what the variable ``CC`` names.
"""

from collections.abc import Callable

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn  # pyright: ignore[reportMissingImports]

from diptych.benchmarks.stopwatch import Stopwatch

BATCH = 512


def tensor(images: np.ndarray):
    """uint8 (n, 28, 28, 1) as a tensor (n, 1, 28, 28)."""
    return Tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


class Net:
    def __init__(self) -> None:
        self.layers = []
        for inputs, filters, kernel in ((1, 32, 5), (32, 64, 3)):
            self.layers += [nn.Conv2d(inputs, filters, kernel), Tensor.relu]
            self.layers += [nn.Conv2d(filters, filters, kernel), Tensor.relu]
            self.layers += [nn.BatchNorm(filters), Tensor.max_pool2d]
        self.layers += [lambda x: x.flatten(1), nn.Linear(576, 10)]

    def __call__(self, x):
        return x.sequential(self.layers)


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    Tensor.manual_seed(seed)
    clock.start()
    x, y = tensor(images), Tensor(labels.astype(np.int32))
    net = Net()
    optimizer = nn.optim.Adam(nn.state.get_parameters(net))

    @TinyJit
    def step():
        optimizer.zero_grad()
        drawn = Tensor.randint(BATCH, high=len(labels))
        loss = net(x[drawn]).sparse_categorical_crossentropy(y[drawn]).backward()
        return loss.realize(*optimizer.schedule_step())

    with Context(TRAINING=1):
        for _step in range(length):
            step().item()
    clock.stop()

    @TinyJit
    def answers(images):
        return net(images).argmax(axis=1).realize()

    def predict(images: np.ndarray) -> np.ndarray:
        parts = np.split(images, range(1000, len(images), 1000))
        # A jitted function answers in the same memory each time.
        return np.concatenate([answers(tensor(part)).numpy().copy() for part in parts])

    return predict
