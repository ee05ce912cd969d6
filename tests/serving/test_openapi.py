"""Requests made up from the OpenAPI description: none is a fault of the server."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
from schemathesis.checks import CHECKS  # noqa: E402

EXAMPLES = 12
SLOW = [
    HealthCheck.too_slow,
    HealthCheck.large_base_example,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
]
# A description cannot say which bytes are a picture, so some that it allows are refused.
CHECKED = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]


def test_schemathesis_finds_nothing(server: str) -> None:
    schema = schemathesis.openapi.from_url(f"{server}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/predict", "/layers", "/samples"}
    for operation in operations:
        check(operation)


def check(operation: Any) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=SLOW, deadline=None)
    @given(case=operation.as_strategy())
    def conforms(case: Any) -> None:
        response = case.call()
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKED)

    conforms()
