"""Settings that only one side defines."""

from types import SimpleNamespace
from typing import Any

import pytest

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Graph
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit
from diptych.auditing.stages import settings


def side(label: str, steps: int | None = None, **told: str) -> Any:
    plan = {"settings": told, "horizon": {"steps": steps}}
    return SimpleNamespace(label=label, plan=lambda: plan)


def compared(a: Any, b: Any) -> tuple[list[str], list[str]]:
    """The findings, as A's words, and what was left out."""
    graph = Graph((1,), ())
    pair = Pair({"a": a, "b": b}, {}, graph, graph, {"a": None, "b": None}, [], None)  # pyright: ignore
    audit = Audit("a.py:build", "b.py:build", ("Keras", "PyTorch"))
    stage = settings.check(pair, Reporter(audit, "settings"))
    assert stage.ok is (not audit.findings)
    return [finding.a for finding in audit.findings], stage.coverage.left_out


@pytest.mark.parametrize("steps", [None, 120])
def test_epochs_that_only_one_side_defines_are_no_difference(steps: int | None) -> None:
    findings, left_out = compared(side("A", steps, epochs="2"), side("B"))
    assert not findings
    # With a length in steps, the stage schedule says that it was not compared.
    reason = "A's epochs: 2: B does not define the length of its training"
    assert left_out == ([] if steps else [reason])


def test_other_settings_of_one_side_and_other_epochs_are_differences() -> None:
    assert compared(side("A", epochs="2"), side("B", epochs="5")) == (["epochs: 2"], [])
    assert compared(side("A"), side("B", callbacks="Stopping()")) == (["callbacks: none"], [])
