"""Tests of whether two samples of the same statistics come from the same distribution.

The error is controlled: `ALARMS` is the probability that an audit of two sides with the same
distributions reports a difference. It is divided among all tests (Bonferroni). A first sample only
decides whether a second, larger one is drawn; only the second one counts.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

ALARMS = 1e-4
"""The probability of a false alarm in one audit."""
QUESTIONS = 6
"""The number of comparisons of distributions in an audit: networks in training, in inference and
after training steps, gradients with and without dropout, batches."""
SCREEN = 5e-3
"""The p-value of the first sample below which a second one is drawn."""
ENOUGH = 200
"""The number of values from which on Kolmogorov and Smirnov's limit is as good as the exact test,
which SciPy cannot always compute for so many."""
Statistics = dict[str, np.ndarray]
"""One number per independent draw, by the name of the statistic."""


def share_of_alarms(tests: int) -> float:
    """The probability of a false alarm that is left for each of the tests of one comparison."""
    return ALARMS / QUESTIONS / tests


def of_one_distribution(a: np.ndarray, b: np.ndarray) -> float:
    """The p-value of Kolmogorov and Smirnov's test of two samples, (n,) and (m,)."""
    from scipy import stats  # Its import takes 0.3 s, and the other test does without.

    method = "asymp" if min(len(a), len(b)) >= ENOUGH else "auto"
    return float(np.asarray(stats.ks_2samp(a, b, method=method))[1])


def p_value(
    a: np.ndarray,
    b: np.ndarray,
    close: float,
    clusters: tuple[np.ndarray, np.ndarray] | None = None,
    least: float = 0.0,
) -> float:
    """The p-value of Kolmogorov and Smirnov's two-sample test.

    Args:
        a: draws of one side.
        b: draws of the other side.
        close: the distance, relative to the largest number, that rounding explains; numbers so
            near to each other are one.
        clusters: for each side, the number of the batch that each draw belongs to. Draws of one
            batch may depend on each other; they then count for fewer (Kish, 1965). Independent
            ones have none.
        least: ``close`` is relative to this at least: numbers that are zero but for rounding have
            no size of their own.
    """
    if not a.size or not b.size:
        return 1.0
    ranks = _ranks(np.concatenate([a, b]).astype(np.float64), close, least)
    if not np.ptp(ranks):
        return 1.0
    one, other = np.sort(ranks[: a.size]), np.sort(ranks[a.size :])
    places = np.unique(ranks)
    shares = [np.searchsorted(x, places, side="right") / len(x) for x in (one, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    counts = [float(a.size), float(b.size)]
    if clusters is not None:
        parts = (ranks[: a.size], ranks[a.size :])
        counts = [n / _design_effect(x, c) for n, x, c in zip(counts, parts, clusters, strict=True)]
    effective = counts[0] * counts[1] / (counts[0] + counts[1])
    return float(special.kolmogorov(np.sqrt(effective) * distance))


def _design_effect(values: np.ndarray, clusters: np.ndarray) -> float:
    """The factor by which the draws of one cluster count for fewer: 1 if they are independent, the
    size of a cluster if they are equal."""
    numbers, sizes = np.unique(clusters, return_counts=True)
    count, size = len(numbers), float(sizes.mean())
    if count < 2 or size <= 1 or not np.ptp(values):
        return 1.0
    means = np.array([values[clusters == number].mean() for number in numbers])
    between = size * float(np.sum(sizes / size * np.square(means - values.mean()))) / (count - 1)
    spread = sum(
        float(np.sum(np.square(values[clusters == n] - m)))
        for n, m in zip(numbers, means, strict=True)
    )
    within = spread / max(1.0, len(values) - count)
    alike = (between - within) / (between + (size - 1) * within)
    error = np.sqrt(2 / (size * max(1.0, size - 1) * count))  # Fisher's, where nothing is alike.
    return float(np.clip(1 + (size - 1) * max(0.0, alike + 2 * error), 1.0, size))


def _ranks(values: np.ndarray, close: float, least: float) -> np.ndarray:
    """Ranks of the values, equal for values that differ only by rounding."""
    values = np.nan_to_num(values, nan=np.inf)
    order = np.argsort(values, kind="stable")
    finite = values[np.isfinite(values)]
    gap = close * float(np.abs(finite).max(initial=least))
    with np.errstate(invalid="ignore"):
        steps = np.nan_to_num(np.diff(values[order]), nan=0.0) > gap
    ranks = np.empty(len(values))
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])
    return ranks


Drawn = tuple[Statistics, Statistics, tuple[np.ndarray, np.ndarray] | None]
"""The statistics of both sides, and the clusters in the form that `p_value` takes."""


def differing(
    draw: Callable[[int], Drawn], runs: int, more: int, close: float, least: float = 0.0
) -> tuple[str, float] | None:
    """The statistic whose distributions differ most, with its p-value; None if none differs.

    Args:
        draw: gives so many fresh draws of both sides.
        runs: draws of the first sample.
        more: draws of the second one.
        close: as `p_value` takes it.
        least: as `p_value` takes it.
    """
    a, b, clusters = draw(runs)
    suspects = [n for n in a if p_value(a[n], b[n], close, clusters, least) < SCREEN]
    if not suspects:
        return None
    limit = share_of_alarms(len(a))
    a, b, clusters = draw(more)
    values = {n: p_value(a[n], b[n], close, clusters, least) for n in suspects}
    name = min(values, key=lambda key: values[key])
    return (name, values[name]) if values[name] < limit else None
