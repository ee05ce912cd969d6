"""Special functions: values by the standard library, derivatives by finite differences."""

import math
from typing import Any

import numpy as np
import pytest
from autograd.test_util import check_grads

from diptych.auditing.special import erf, expit

X = np.array([-3.0, -0.4, 0.0, 1.2, 2.5])


@pytest.mark.parametrize(
    ("function", "known"), [(erf, math.erf), (expit, lambda x: 1 / (1 + math.exp(-x)))]
)
def test_values_and_derivatives(function, known) -> None:
    np.testing.assert_allclose(function(X), [known(x) for x in X], rtol=1e-14)
    check: Any = check_grads(function, modes=["rev"], order=2)  # pyright: ignore[reportCallIssue]
    check(X)
