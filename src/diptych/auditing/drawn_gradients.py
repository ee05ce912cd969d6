"""Comparison of loss and gradients as distributions, if random numbers are drawn in training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diptych.auditing.certificate import TWINS, Coverage
from diptych.auditing.distributions import (
    Drawn,
    Statistics,
    differing,
    p_value,
    share_of_alarms,
)
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.side import Answers
from diptych.auditing.twins import Twins
from diptych.auditing.weights import without_gradient

EXAMPLES = 8
RUNS, MORE, FEWEST = 96, 512, 16
"""Draws of the first and of the second sample, and the minimum for either."""
BUDGET = 100_000_000
"""The maximum number of values in all gradients of a sample."""
APART = 1_000_000
"""The offset of B's seeds, so that the two samples are independent."""
LOSS = "the loss"
ALONG = "the gradient of "
"""The prefix of the names of statistics that are projections of a gradient."""
SIZE = "the size of the gradient of "
"""The prefix of the names of statistics that are norms of a gradient."""
CLOSE = {TWINS: 1e-9, "float32": 1e-5}
"""The relative distance of two statistics that rounding explains."""


RATIO = 1.1
"""The ratio of both sides' deviations up to which they count as the same."""


@dataclass(frozen=True)
class Difference:
    """A difference of the distributions of gradients."""

    statistic: str
    """The statistic that differs most."""
    p: float
    deviations: dict[Which, float]
    """The standard deviation over draws of each side's gradients, root mean square."""
    of_loss: float | None = None
    """The factor of B's loss, in units of A's, if two factors explain the difference."""
    of_gradients: float | None = None
    """The factor of B's gradients."""

    @property
    def effect(self) -> str:
        """The difference in words."""
        return f"the distributions of {self.statistic} differ, p = {self.p:.1g}"

    @property
    def is_of_spread(self) -> bool:
        """True if the gradients of one side deviate more than those of the other."""
        smaller, larger = sorted(self.deviations.values())
        return larger > RATIO * smaller


Question = Callable[[Answers, Which, np.ndarray, np.ndarray, int], tuple[float, Arrays]]
"""Asks a side for its loss and gradients on inputs and targets, with random numbers from a seed."""


def compare_drawn(
    twins: Twins, weights: Arrays, coverage: Coverage, ask: Question
) -> Difference | None:
    """The difference of the distributions; None if there is none."""
    twins.load(weights)
    x = {which: twins.inputs[which][:EXAMPLES] for which in SIDES}
    y = {which: twins.examples.y[which][:EXAMPLES] for which in SIDES}
    size = sum(value.size for value in weights.values())
    runs, more = (int(np.clip(BUDGET // max(1, size), FEWEST, most)) for most in (RUNS, MORE))
    first = 1
    deviations: dict[Which, float] = {}
    center: list[tuple[float, Arrays]] = []
    samples: list[tuple[Statistics, Statistics]] = []
    idle: set[str] = set()

    def draw(count: int) -> Drawn:
        nonlocal first
        seeds = range(first, first + count)
        first += count
        answers = twins.ask(
            lambda side, which: [
                ask(side, which, x[which], y[which], seed + APART * (which == "b"))
                for seed in seeds
            ]
        )
        coverage.compared(count, draws="of both sides")
        of_a = answers["a"]
        of_b = [(loss, twins.pair.transfer.to_a(arrays)) for loss, arrays in answers["b"]]
        if not center:
            idle.update(without_gradient(_largest([*of_a, *of_b]), twins.precision))
            center.append(_mean([*of_a, *of_b], weights))
        compared = {name: value for name, value in weights.items() if name not in idle}
        a, b = (_statistics(each, compared, *center[0]) for each in (of_a, of_b))
        samples.append((a, b))
        deviations.update({"a": _deviation(a), "b": _deviation(b)})
        return a, b, None

    different = differing(draw, runs, more, CLOSE[twins.precision])
    if idle:
        names = ", ".join(sorted(idle))
        coverage.leave_out(f"drawn gradients of {names}", "they are zero up to rounding")
    if not different:
        return None
    factors = _factors(*samples[-1], CLOSE[twins.precision])
    return Difference(*different, deviations, *(factors or (None, None)))


def _factors(a: Statistics, b: Statistics, close: float) -> tuple[float, float] | None:
    """The factors of B's loss and of its gradients in units of A's, if these explain all
    differences: 1 where the losses have one distribution."""
    sizes = [name for name in a if name.startswith(SIZE)]
    with np.errstate(all="ignore"):
        of_gradients = float(np.median([np.mean(b[n]) / np.mean(a[n]) for n in sizes]))
        of_loss = float(np.mean(b[LOSS]) / np.mean(a[LOSS]))
    limit = share_of_alarms(len(a))
    if p_value(a[LOSS], b[LOSS], close) >= limit:
        of_loss = 1.0
    if not (np.isfinite(of_gradients) and np.isfinite(of_loss)):
        return None
    factors = {LOSS: of_loss}
    factors |= {name: of_gradients for name in a if name.startswith((ALONG, SIZE))}
    explained = all(p_value(a[n] * by, b[n], close) >= limit for n, by in factors.items())
    return (of_loss, of_gradients) if explained else None


def _deviation(statistics: Statistics) -> float:
    """The root mean square deviation of all gradients from draw to draw."""
    along = [values for name, values in statistics.items() if name.startswith(ALONG)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean([np.var(values) for values in along]))) if along else 0.0


def _mean(answers: list[tuple[float, Arrays]], weights: Arrays) -> tuple[float, Arrays]:
    """The mean loss and the mean gradients (values,) of all draws."""
    means = {name: _rows(answers, name, value.size).mean(axis=0) for name, value in weights.items()}
    return float(np.mean([loss for loss, _ in answers])), means


def _largest(answers: list[tuple[float, Arrays]]) -> Arrays:
    """The largest gradient of each parameter in all draws, as a size."""
    sizes: dict[str, float] = {}
    for _, gradients in answers:
        for name, value in gradients.items():
            sizes[name] = max(sizes.get(name, 0.0), float(np.abs(value).max(initial=0.0)))
    return {name: np.array(size) for name, size in sizes.items()}


def _rows(answers: list[tuple[float, Arrays]], name: str, size: int) -> np.ndarray:
    """The gradients of one parameter, (draws, values)."""
    zeros = np.zeros(size)  # What a dropped path gives its parameters.
    gradients = [arrays.get(name) for _, arrays in answers]
    rows = np.stack([zeros if g is None else g.astype(np.float64).ravel() for g in gradients])
    return np.nan_to_num(rows, nan=1e300, posinf=1e300, neginf=-1e300)


def _statistics(
    answers: list[tuple[float, Arrays]], weights: Arrays, mean_loss: float, means: Arrays
) -> Statistics:
    """The statistics of each draw: the loss, and for each gradient its norm, a projection, the size
    of its deviation, and the product of that projection's deviation with the loss's, which shows
    whether both come from the same random numbers.

    Args:
        answers: the losses and gradients.
        weights: the parameters.
        mean_loss, means: of both sides together.
    """
    chance = np.random.default_rng(9)
    losses = np.array([loss for loss, _ in answers], np.float64)
    statistics: Statistics = {LOSS: losses}
    for name, value in weights.items():
        direction = chance.standard_normal(value.size)
        if all(name not in arrays for _, arrays in answers):
            continue
        rows = _rows(answers, name, value.size)
        with np.errstate(over="ignore", invalid="ignore"):
            away = rows - means[name]
            statistics[ALONG + name] = rows @ direction
            statistics[SIZE + name] = np.linalg.norm(rows, axis=1)
            statistics[f"the deviation of the gradient of {name}"] = np.linalg.norm(away, axis=1)
            shared = (losses - mean_loss) * (away @ direction)
            statistics[f"what the loss and the gradient of {name} share"] = shared
    return statistics
