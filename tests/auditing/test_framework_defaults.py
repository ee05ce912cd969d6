"""What adapters take where the user says nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diptych.auditing.frameworks.defaults import (
    as_written,
    coded,
    curves,
    default_input,
    default_targets,
    rows_of,
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


@given(st.integers(0, 500), st.integers(1, 40))
def test_rows_are_of_all_parts(examples: int, count: int) -> None:
    rows = rows_of(examples, count)
    assert len(set(rows)) == len(rows) == min(examples, count)
    assert np.all(np.diff(rows) > 0) and np.array_equal(rows, rows_of(examples, count))
    if examples:
        assert rows[0] == 0 or count == 1
        assert rows[-1] == examples - 1
        assert np.diff(rows).max(initial=0) <= 2 * -(-examples // count)


@pytest.mark.parametrize("period", range(2, 10))
def test_labels_that_repeat_with_a_period_are_all_there(period: int) -> None:
    labels = np.arange(64) % period
    assert set(labels[rows_of(64, 32)]) == set(range(period))
