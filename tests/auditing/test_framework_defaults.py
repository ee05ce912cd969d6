"""What adapters take where the user says nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from diptych.auditing.frameworks.defaults import (
    as_written,
    coded,
    curves,
    default_input,
    default_targets,
    same_padding,
)

CURVES = {
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(threshold=100),
    "exponential": torch.exp,
    "softmax": nn.Softmax(-1),
    "log_softmax": nn.LogSoftmax(-1),
    "selu": nn.SELU(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "hard_swish": nn.Hardswish(),
    "log_sigmoid": nn.LogSigmoid(),
    "mish": nn.Mish(),
    "softsign": nn.Softsign(),
    "leaky_relu": nn.LeakyReLU(0.3),
    "elu": nn.ELU(0.7),
}

SLOPES = {"leaky_relu": 0.3, "elu": 0.7, "hard_sigmoid": 1 / 6}


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_pytorchs(name: str) -> None:
    x = np.linspace(-8, 8, 161).reshape(7, 23)
    y = CURVES[name](torch.tensor(x)).numpy()
    assert curves(x, y).keys() == CURVES.keys()
    values, slope = curves(x, y)[name]
    np.testing.assert_allclose(values, y, rtol=1e-12, atol=1e-14)
    if slope is not None:
        np.testing.assert_allclose(slope, SLOPES[name])


def test_inputs_and_targets() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    x = default_input(images, (64,), np.float32)
    assert x.shape == (4, 64) and x.dtype == np.float32
    np.testing.assert_allclose(x, images.reshape(4, 64) / 255, rtol=1e-6)
    exact = default_input(images, (8, 8, 1), np.float64)
    assert exact.dtype == np.float64 and (exact.reshape(4, 64) == x).all()
    labels = np.array([2, 0])
    classes = default_targets(labels, "classes", 3, np.float32)
    assert classes is not None and classes.dtype == np.int64
    one_hot = default_targets(labels, "one_hot", 3, np.float64)
    assert one_hot is not None and one_hot.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert default_targets(labels, "values", 3, np.float32) is None


def test_coded_examples() -> None:
    x = coded(3, (2, 2), np.float32)
    assert x.shape == (3, 2, 2) and x.dtype == np.float32 and x[2].tolist() == [[2, 2], [2, 2]]
    assert coded(3, (), np.int64).tolist() == [0, 1, 2]


def test_same_padding_keeps_the_size() -> None:
    """The output has ceil(length / stride), and PyTorch's unfold has as many windows."""
    for length, size, stride, step in np.random.default_rng(0).integers(1, 8, (50, 4)):
        ((before, after),) = same_padding([length], [size], [stride], [step])
        padded = nn.functional.pad(torch.zeros(1, 1, length), (int(before), int(after)))
        pool = nn.functional.conv1d(
            padded, torch.zeros(1, 1, size), stride=int(stride), dilation=int(step)
        )
        assert pool.shape[-1] == -(-length // stride) and before <= after <= before + 1
    assert same_padding([28], [3], [2], [1]) == [[0, 1]]


def test_numbers_as_written() -> None:
    for number in (0.001, 0.9, 1e-7, 0.1307, 3.0):
        assert as_written(float(np.float32(number))) == number
