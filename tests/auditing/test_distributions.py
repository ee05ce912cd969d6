"""Tests of samples: their p-values are those of SciPy's exact test, and nothing is printed."""

import warnings

import numpy as np
import pytest
from scipy import stats

from diptych.auditing.distributions import ENOUGH, of_one_distribution


@pytest.mark.parametrize("count", [12, ENOUGH, 3_456, 4_000])
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_p_values_are_those_of_the_exact_test(count: int, shift: float) -> None:
    chance = np.random.default_rng(count)
    a, b = chance.standard_normal(count), shift + chance.standard_normal(count)
    _, exact = stats.ks_2samp(a, b, method="exact")
    assert of_one_distribution(a, b) == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("counts", [(3_456, 4_000), (3_999, 4_000), (250, 3_777)])
def test_a_test_that_has_no_exact_answer_does_not_warn(counts: tuple[int, int]) -> None:
    a, b = (np.random.default_rng(count).uniform(size=count) for count in counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert of_one_distribution(a, b) > 1e-3
        assert of_one_distribution(a, b**3) < 1e-9
