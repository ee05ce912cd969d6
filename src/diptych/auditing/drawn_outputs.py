"""Outputs of networks that draw random numbers, compared as distributions.

Both networks are run many times on the same weights and examples. What varies is compared by
statistics of each run: projections of all outputs, the size of the deviations, their largest, and
what the examples of a batch share.
"""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.certificate import TWINS, Coverage
from diptych.auditing.distributions import Drawn, Statistics, differing
from diptych.auditing.endings import as_one
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.side import Failed, Unable, at_once
from diptych.auditing.twins import Twins, distance

EXAMPLES = 4
RUNS, MORE, FEWEST = 256, 1_024, 24
"""The numbers of runs of the first and of the second sample, and the minimum for either."""
BUDGET = 400_000_000
"""The maximum number of activations in all runs of a sample."""
LOOKS, FEWEST_LOOKS = 128, 8
"""The numbers of runs that show whether a side draws random numbers, even in one run of ten."""
LOOK_BUDGET = 50_000_000
"""The maximum number of activations in these runs."""
PROJECTIONS = 8
FAR = 1e-3
"""The smallest deviation from run to run, relative to the largest output, for which float32 draws
the same distributions as float64."""
CLOSE = {TWINS: 1e-9, "float32": 1e-5}
"""The relative difference of two statistics that rounding explains."""
STILL = {TWINS: 1e-12, "float32": 2e-6}
"""The relative difference of two runs that does not count as randomness."""


@dataclass(frozen=True)
class Looks:
    """Several runs of both sides on the same examples."""

    outputs: dict[Which, np.ndarray]
    """(runs, n, …)."""
    varies: dict[Which, bool]
    """True for a side whose outputs vary from run to run."""


def look(twins: Twins, x: dict[Which, np.ndarray], training: bool) -> Looks:
    """Runs both sides as often as shows whether they draw random numbers, even rarely."""
    looks = affordable(twins, LOOK_BUDGET, FEWEST_LOOKS, LOOKS)
    few = twins.ask(lambda side, which: side.outputs(x[which], training=training, runs=looks))
    return Looks(few, {which: varies(y, twins) for which, y in few.items()})


def compare(
    twins: Twins,
    x: dict[Which, np.ndarray],
    training: bool,
    weights: Arrays,
    looks: Looks,
    coverage: Coverage,
) -> tuple[tuple[str, float] | None, dict[Which, float]]:
    """Compares the outputs of both sides as distributions.

    The first sample only decides whether a second one is drawn. It is drawn in float32 if the
    outputs vary by much more than float32 rounds.

    Args:
        twins: both sides, with these weights.
        x: the examples.
        training: in training, or in inference.
        weights: by A's names.
        looks: earlier runs.
        coverage: to which the runs are added.

    Returns:
        The statistic that differs, with its p-value, if one does; and how far the outputs of each
        side deviate.
    """
    pair = twins.pair
    runs, more = (affordable(twins, BUDGET, FEWEST, most) for most in (RUNS, MORE))
    center: list[np.ndarray] = []
    spreads: dict[Which, float] = {}
    coarse = _may_be_coarse(twins, looks)

    def draw(count: int) -> Drawn:
        drawn = _in_float32(twins, training, weights, count) if coarse and not center else None
        if drawn is not None:
            coverage.compared(0, first_draws="in float32")
        else:
            drawn = twins.ask(lambda side, which: side.outputs(x[which], training, runs=count))
        pairs = [as_one(pair, {w: drawn[w][run] for w in SIDES}) for run in range(count)]
        a, b = (np.stack([each[i] for each in pairs]) for i in (0, 1))
        if not center:
            center.append((a.mean(axis=0) + b.mean(axis=0)) / 2)
        coverage.compared(count)
        spreads.update({"a": spread(a), "b": spread(b)})
        return statistics(a, center[0]), statistics(b, center[0]), None

    different = differing(draw, runs, more, CLOSE[twins.precision])
    coverage.compared(0, statistics=len(statistics(np.zeros((1, 2, 2)), np.zeros((2, 2)))))
    return different, spreads


def _may_be_coarse(twins: Twins, looks: Looks) -> bool:
    """True if both sides compute in float32, and what they draw is far above its rounding."""
    return (
        twins.has_float64
        and twins.float32_unit == 1.0
        and all(spread(y) > FAR * _size(y) for y in looks.outputs.values())
    )


def _in_float32(
    twins: Twins, training: bool, weights: Arrays, runs: int
) -> dict[Which, np.ndarray] | None:
    """Outputs of both sides themselves, (runs, n, …); None if a side cannot give them."""
    pair, x = twins.pair, twins.examples.x
    of_side = {"a": weights, "b": pair.transfer.to_b(weights)}

    def question(which: Which) -> np.ndarray:
        side = pair.sides[which]
        own = {n: value.astype(side.own[n].dtype) for n, value in of_side[which].items()}
        side.load(own)
        return side.outputs(x[which][:EXAMPLES], training, runs=runs)

    try:
        return at_once(pair.sides, question)
    except (Failed, Unable):
        return None
    finally:
        pair.load(twins.weights)


def _size(y: np.ndarray) -> float:
    """The largest finite number."""
    return float(np.abs(y[np.isfinite(y)]).max(initial=0.0))


def affordable(twins: Twins, budget: int, fewest: int, most: int) -> int:
    """The number of runs within a budget of activations."""
    activations = EXAMPLES * sum(int(np.prod(node.shape)) for node in twins.pair.a.nodes)
    return int(np.clip(budget // max(1, activations), fewest, most))


def varies(y: np.ndarray, twins: Twins) -> bool:
    """True if runs (runs, n, …) differ from each other by more than rounding."""
    bound = twins.unit * STILL[twins.precision] * _size(y)
    return any(distance(run, y[0]) > bound for run in y[1:])


def spread(y: np.ndarray) -> float:
    """The standard deviation over runs, root mean square."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.sqrt(np.mean(np.var(y.astype(np.float64), axis=0))))


def statistics(y: np.ndarray, center: np.ndarray) -> Statistics:
    """The statistics of each run.

    Args:
        y: outputs (runs, n, …).
        center: the mean output (n, …), the same for both sides.
    """
    away = (y.astype(np.float64) - center).reshape(len(y), len(center), -1)
    away = np.nan_to_num(away, nan=1e300, posinf=1e300, neginf=-1e300)
    chance = np.random.default_rng(9)
    found: Statistics = {}
    with np.errstate(over="ignore"):
        for number in range(PROJECTIONS):
            direction = chance.standard_normal(away.shape[1:])
            found[f"projection {number + 1}"] = np.tensordot(away, direction, 2)
        squares = np.mean(np.square(away), axis=(1, 2))
        found["the size of the deviations"] = squares
        found["the largest deviation"] = np.abs(away).max(axis=(1, 2))
        found["what the examples of a batch share"] = np.mean(np.square(away.mean(axis=1)), axis=1)
        found["the first example's deviation"] = np.mean(np.square(away[:, 0]), axis=1)
    return found
