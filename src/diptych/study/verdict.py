"""The verdict of a study: yes, no, or not decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from diptych.study.description import Answer

LEVEL = 0.05
"""The share of false answers that is taken into account over all arms of a study."""
Word = Literal["yes", "no", "not decided"]


@dataclass(frozen=True)
class ArmFigures:
    """The measurements of one arm."""

    name: str
    values: list[float]
    """One per seed."""
    mean: float
    spread: float | None
    """The standard deviation over seeds; None for one seed."""


@dataclass(frozen=True)
class Contrast:
    """An arm against the first one, or against the limit."""

    arm: str
    difference: float
    """Of the means: the first arm's less this one's, or this one's less the limit."""
    interval: tuple[float, float] | None
    """The 95% interval of the difference, not corrected; None for one seed."""
    p_value: float | None
    """Of the hypothesis that would make the answer yes, corrected for the number of arms (Holm,
    1979); None for one seed."""
    word: Word


@dataclass(frozen=True)
class Verdict:
    """The answer of a study."""

    word: Word
    arms: list[ArmFigures]
    contrasts: list[Contrast]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def verdict(answer: Answer, values: Mapping[str, Sequence[float]]) -> Verdict:
    """Decides a study.

    Arms are compared seed by seed: runs of one seed start from the same weights and see the same
    batches. One seed per arm never decides anything.

    Args:
        answer: what decides.
        values: for each arm, in the study's order, the measure of each seed, in the same order.
    """
    arms = [
        ArmFigures(
            name, list(v), float(np.mean(v)), float(np.std(v, ddof=1)) if len(v) > 1 else None
        )
        for name, v in values.items()
    ]
    names = list(values)
    compared = names if answer.kind == "below" else names[1:]
    differences = {name: _differences(answer, values, name) for name in compared}
    tests = {name: _p_values(answer, d) for name, d in differences.items()}
    contrasts = []
    for_yes = _corrected([tests[name][0] for name in compared])
    for_no = _corrected([tests[name][1] for name in compared])
    for name, yes, no in zip(compared, for_yes, for_no, strict=True):
        d = differences[name]
        word: Word = "not decided"
        if yes is not None and yes < LEVEL:
            word = "yes"
        elif no is not None and no < LEVEL:
            word = "no"
        contrasts.append(Contrast(name, float(np.mean(d)), _interval(d), yes, word))
    words = {contrast.word for contrast in contrasts}
    whole: Word = "no" if "no" in words else "yes" if words == {"yes"} else "not decided"
    return Verdict(whole, arms, contrasts)


def _differences(answer: Answer, values: Mapping[str, Sequence[float]], name: str) -> np.ndarray:
    own = np.asarray(values[name], np.float64)
    if answer.kind == "below":
        assert answer.limit is not None
        return own - answer.limit
    return np.asarray(next(iter(values.values())), np.float64) - own


def _p_values(answer: Answer, d: np.ndarray) -> tuple[float | None, float | None]:
    """Of the tests whose rejection makes the answer yes, and no; None for one seed."""
    if len(d) < 2:
        return None, None
    if answer.kind == "below":
        return _greater(-d), _greater(d)
    if answer.kind == "higher":
        return _greater(d), _greater(-d)
    if answer.kind == "lower":
        return _greater(-d), _greater(d)
    assert answer.margin is not None
    # Two one-sided tests (Schuirmann, 1987): within the margin on both sides.
    within = max(_greater(d + answer.margin), _greater(answer.margin - d))
    beyond = min(1.0, 2 * min(_greater(d - answer.margin), _greater(-d - answer.margin)))
    return within, beyond


def _greater(d: np.ndarray) -> float:
    """The p-value of Student's t-test that the mean is greater than zero."""
    if np.ptp(d) == 0:  # All the same: there is no spread to test by.
        return 0.0 if d[0] > 0 else 1.0
    test: Any = stats.ttest_1samp(d, 0.0, alternative="greater")
    return float(test.pvalue)


def _interval(d: np.ndarray) -> tuple[float, float] | None:
    if len(d) < 2:
        return None
    if np.ptp(d) == 0:
        return float(d[0]), float(d[0])
    low, high = stats.ttest_1samp(d, 0.0).confidence_interval(1 - LEVEL)
    return float(low), float(high)


def _corrected(p_values: list[float | None]) -> list[float | None]:
    from statsmodels.stats.multitest import multipletests  # `diptych study list` needs it not.

    known = [p for p in p_values if p is not None]
    if not known:
        return p_values
    result: Any = multipletests(known, LEVEL, "holm")
    corrected = iter(result[1])
    return [None if p is None else float(next(corrected)) for p in p_values]
