"""Outputs of two networks behind their final activations."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import special

from diptych.auditing.endings import FUNCTIONS, as_one

Z = np.random.default_rng(0).normal(0, 3, (6, 4))


def pair(a: str | None, b: str | None) -> Any:
    return SimpleNamespace(narrowed=None, final={"a": a, "b": b}, several={})


@pytest.mark.parametrize(
    ("a", "b"),
    [("softmax", None), (None, "log_softmax"), ("softmax", "log_softmax"), ("sigmoid", "sigmoid")],
)
def test_which_side_applies_the_last_activation_does_not_count(
    a: str | None, b: str | None
) -> None:
    """Keras' users end in a softmax, PyTorch's in none, or in its logarithm before NLLLoss."""
    for ends in ((a, b), (b, a)):
        outputs = {which: FUNCTIONS[end](Z) for which, end in zip("ab", ends, strict=True)}
        np.testing.assert_allclose(*as_one(pair(*ends), outputs), rtol=1e-12, atol=1e-14)
        outputs["b"] = FUNCTIONS[ends[1]](Z[:, ::-1])
        one, other = as_one(pair(*ends), outputs)
        assert np.abs(one - other).max() > 0.1


def test_probabilities_are_not_compared_with_their_logarithms() -> None:
    outputs = {"a": special.softmax(Z, -1), "b": special.log_softmax(Z, -1)}
    _, other = as_one(pair("softmax", "log_softmax"), outputs)
    assert other.min() >= 0
