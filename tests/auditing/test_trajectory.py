"""How far rounding leads: several ways are tried where one nearly explains a difference."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing.certificate import TWINS
from diptych.auditing.side import Path
from diptych.auditing.stages.trajectory import _near
from diptych.auditing.twins import REACH, WAYS

TWIN: Any = SimpleNamespace(unit=1.0, precision=TWINS, floor=lambda size: 1e-12 * size)
LINE = np.linspace(1, 2, 5)[:, None] * np.ones((5, 3))


def path(away: float) -> Path:
    """Five steps that end so far away from those of A."""
    return Path(np.zeros(4), {"w": LINE + away * np.linspace(0, 1, 5)[:, None]}, None, False)


@pytest.mark.parametrize(
    ("of_b", "of_ways", "tried", "chosen"),
    [
        (3e-9, [1e-9], 1, 0),  # Explained by the first.
        (8e-9, [1e-9, 0.5e-9, 3e-9], 3, 2),  # By the third.
        (8e-9, [1e-9, 1.1e-9, 1.2e-9, 1.3e-9], WAYS, 3),  # By none.
        (8e-7, [1e-9], 1, 0),  # Far beyond.
    ],
)
def test_ways_are_tried_until_one_explains(
    of_b: float, of_ways: list[float], tried: int, chosen: int
) -> None:
    asked = []

    def moved_by(way: int) -> Path:
        asked.append(way)
        return path(of_ways[way])

    assert REACH[TWINS] == 4.0
    near = _near(TWIN, path(0.0), path(of_b), {"w"}, moved_by)
    assert asked == list(range(tried))
    np.testing.assert_array_equal(near.weights["w"], path(of_ways[chosen]).weights["w"])
