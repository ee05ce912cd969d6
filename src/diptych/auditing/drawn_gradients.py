"""Comparison of loss and gradients as distributions, if the user's code draws random numbers."""

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
from diptych.auditing.twins import Twins

EXAMPLES = 8
RUNS, MORE, FEWEST = 64, 256, 16
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
    def is_of_spread(self) -> bool:
        """True if the gradients of one side deviate more than those of the other."""
        smaller, larger = sorted(self.deviations.values())
        return larger > RATIO * smaller


def compare_drawn(twins: Twins, weights: Arrays, coverage: Coverage) -> Difference | None:
    """The difference of the distributions; None if there is none."""
    twins.load(weights)
    x = {which: twins.typed(twins.examples.x[which][:EXAMPLES]) for which in SIDES}
    y = {which: twins.examples.y[which][:EXAMPLES] for which in SIDES}
    size = sum(value.size for value in weights.values())
    runs, more = (int(np.clip(BUDGET // max(1, size), FEWEST, most)) for most in (RUNS, MORE))
    first = 1
    deviations: dict[Which, float] = {}
    samples: list[tuple[Statistics, Statistics]] = []

    def draw(count: int) -> Drawn:
        nonlocal first
        seeds = range(first, first + count)
        first += count
        coverage.compared(count, draws="of both sides")
        answers = twins.ask(
            lambda side, which: [
                side.loss_and_gradients(x[which], y[which], seed + APART * (which == "b"))
                for seed in seeds
            ]
        )
        of_b = [(loss, twins.pair.transfer.to_a(arrays)) for loss, arrays in answers["b"]]
        a, b = _statistics(answers["a"], weights), _statistics(of_b, weights)
        samples.append((a, b))
        deviations.update({"a": _deviation(a), "b": _deviation(b)})
        return a, b, None

    different = differing(draw, runs, more, CLOSE[twins.precision])
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
    factors = {name: of_loss if name == LOSS else of_gradients for name in a}
    explained = all(p_value(a[n] * factors[n], b[n], close) >= limit for n in a)
    return (of_loss, of_gradients) if explained else None


def _deviation(statistics: Statistics) -> float:
    """The root mean square deviation of all gradients from draw to draw."""
    along = [values for name, values in statistics.items() if name.startswith(ALONG)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.mean([np.var(values) for values in along]))) if along else 0.0


def _statistics(answers: list[tuple[float, Arrays]], weights: Arrays) -> Statistics:
    """The loss, and the norm and one projection of each gradient, for each draw."""
    chance = np.random.default_rng(9)
    statistics: Statistics = {LOSS: np.array([loss for loss, _ in answers], np.float64)}
    for name, value in weights.items():
        direction = chance.standard_normal(value.size)
        gradients = [arrays.get(name) for _, arrays in answers]
        if all(gradient is None for gradient in gradients):
            continue
        zeros = np.zeros(value.size)  # What a dropped path gives its parameters.
        rows = np.stack([zeros if g is None else g.astype(np.float64).ravel() for g in gradients])
        rows = np.nan_to_num(rows, nan=1e300, posinf=1e300, neginf=-1e300)
        with np.errstate(over="ignore", invalid="ignore"):
            statistics[ALONG + name] = rows @ direction
            statistics[SIZE + name] = np.linalg.norm(rows, axis=1)
    return statistics
