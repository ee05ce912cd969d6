"""Initialisers are named from what they drew: Keras' and PyTorch's own."""

import keras
import numpy as np
import pytest
import torch

from diptych.auditing.stages.initial import named

SHAPE = (3, 3, 16, 32)


@pytest.mark.parametrize(
    ("initialiser", "expected"),
    [
        ("glorot_uniform", "Glorot uniform"),
        ("glorot_normal", "Glorot truncated normal"),
        ("he_uniform", "He uniform"),
        ("he_normal", "He truncated normal"),
        ("lecun_normal", "LeCun truncated normal"),
    ],
)
def test_keras_initialisers(initialiser: str, expected: str):
    values = np.array(keras.initializers.get(initialiser)(SHAPE)).ravel()  # pyright: ignore
    assert named(values, SHAPE, dense=False).startswith(expected)


def test_pytorchs_own_is_named():
    weight = torch.nn.Conv2d(16, 32, 3).weight.detach().numpy().ravel()
    assert "PyTorch's" in named(weight, SHAPE, dense=False)


@pytest.mark.parametrize("family", ["uniform", "truncated normal"])
def test_a_bias_of_sixteen_numbers_in_twelve_builds_is_enough_to_name_its_family(family: str):
    for seed in range(20):
        chance = np.random.default_rng(seed)
        values = chance.uniform(-1 / 3, 1 / 3, 192)
        if family == "truncated normal":
            normal = chance.standard_normal(400)
            values = 0.05 * normal[np.abs(normal) < 2][:192]
        assert named(values, (16,), dense=False).startswith(f"{family}, standard deviation")


def test_constants():
    assert named(np.zeros(5), (5,), dense=False) == "zeros"
    assert named(np.full(5, 0.1), (5,), dense=False) == "constant 0.1"
