"""A sample of the planted suite; `make audit-suite` runs all of it."""

import pytest
from cases import Case, side
from suite import run

ADAM = "optimiser_adam__rate_of_learning_0.001"
SAMPLE = [
    Case(
        side("tensorflow", "cnn", ADAM),
        side("keras", "cnn", ADAM, "pool_average__epsilon_1e-08"),
        ("pooling", "epsilon"),
    ),
    pytest.param(
        Case(
            side("torch", "cnn"),
            side("torch", "cnn", "rate_0.5__cleared_False"),
            ("dropout-rate", "gradients-not-cleared"),
        ),
        marks=pytest.mark.exhaustive,
    ),
    Case(
        side("torch", "regression"),
        side("torch", "regression", "broadcast_True__frozen_True"),
        ("loss-broadcast", "frozen-parameter"),
    ),
]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: case.name)
def test_what_is_planted_is_found_and_nothing_else(case: Case) -> None:
    outcome = run(case)
    assert not outcome.problem
    assert outcome.codes == list(case.expected)
