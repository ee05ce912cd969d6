"""Distributions of gradients, of which one is zero in truth."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from diptych.auditing.certificate import TWINS, Coverage
from diptych.auditing.drawn_gradients import compare_drawn
from diptych.auditing.graph import Arrays


def twins_of(ask: Any) -> Any:
    """As much of twins as the comparison uses; ``ask`` answers for a side."""
    nothing = dict.fromkeys("ab", np.zeros((8, 1)))
    return SimpleNamespace(
        load=lambda weights: None,
        inputs=nothing,
        examples=SimpleNamespace(y=nothing),
        precision=TWINS,
        pair=SimpleNamespace(transfer=SimpleNamespace(to_a=lambda arrays: arrays)),
        ask=lambda question: {which: question(None, which) for which in "ab"},
    )


def different(sizes: dict[str, float]) -> str | None:
    """The statistic that differs, where the bias' gradients have these sizes on both sides."""

    def answer(_: Any, which: str, x: np.ndarray, y: np.ndarray, draw: int) -> tuple[float, Arrays]:
        chance = np.random.default_rng(draw)
        gradients = {"kernel": chance.normal(size=(4, 3)), "bias": chance.normal(size=3)}
        return float(chance.normal()), gradients | {"bias": sizes[which] * gradients["bias"]}

    weights = {"kernel": np.zeros((4, 3)), "bias": np.zeros(3)}
    difference = compare_drawn(twins_of(answer), weights, Coverage(), answer)
    return difference and difference.statistic


def test_rounding_has_no_distribution_that_counts() -> None:
    """A bias in front of a batch normalisation has a gradient of zero, but for rounding."""
    assert different({"a": 1e-17, "b": 4e-17}) is None
    assert different({"a": 1e-17, "b": 0.0}) is None


def test_small_gradients_have_one() -> None:
    assert "bias" in (different({"a": 1e-6, "b": 4e-6}) or "")
    assert "bias" in (different({"a": 1e-17, "b": 1e-6}) or "")
