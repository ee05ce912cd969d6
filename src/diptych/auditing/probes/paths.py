"""Both optimisers' paths on the same gradients, and how far apart they may be."""

from dataclasses import replace

import numpy as np

from diptych.auditing.certificate import TWINS
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import Which, trained
from diptych.auditing.probes import steps as probes
from diptych.auditing.twins import Twins

SOME = probes.Regime("from 1e-9 to 1e-2", (-9, -2), probes.SHORT)
NONE = probes.Regime("of zero", (0, 0), probes.SHORT)
Penalties = dict[Which, dict[str, float]]
"""By side and by its own names, how often the sum of a parameter's squares is in its loss."""
MOVED = {TWINS: 2e-5, "float32": 5e-4}
"""How far two steps may be apart, relative to the steps. A constant such as 1 - beta_2 that a
framework stores in float32 is off by 1e-5 of itself, in its twin too."""
LARGEST_STEP = {TWINS: 2e-7, "float32": 1e-5}
"""The same, relative to the number's largest step: a rate that ends near zero is rounded."""
WEIGHT = {TWINS: 4e-15, "float32": 4e-7}
"""The same, relative to the number itself."""


def paths_of(
    twins: Twins, regime: probes.Regime, names: list[str], penalties: Penalties, draw: int = 0
) -> dict[Which, Arrays]:
    """The watched numbers of both sides by A's names, (steps + 1, watched); ``draw`` as
    `diptych.auditing.side.Answers.updates` takes it."""
    pair = twins.pair
    own = {
        which: {name: twins.typed(value) for name, value in side.own.items()}
        for which, side in pair.sides.items()
    }
    learned = {which: trained(side) for which, side in pair.sides.items()}
    of_a = probes.plan(regime, own["a"], names, learned["a"])
    of_b = probes.for_b(of_a, pair.transfer, own, learned["b"])
    plans = {"a": of_a, "b": of_b}
    for which, factors in penalties.items():
        known = {name: f for name, f in factors.items() if name in plans[which].sizes}
        plans[which] = replace(plans[which], penalties=known)
    found = twins.ask(lambda side, which: side.updates(plans[which], draw))
    return {"a": found["a"], "b": probes.for_a(found["b"], pair.transfer)}


def apart(
    a: np.ndarray, b: np.ndarray, precision: str
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """The steps of two paths of numbers, how far they are apart, and what rounding explains.

    Args:
        a, b: the paths, (steps + 1, numbers).
        precision: that both were computed in.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        steps = [np.diff(path.astype(np.float64), axis=0) for path in (a, b)]
    size = np.maximum(*(np.abs(np.nan_to_num(step)) for step in steps))
    bounds = (
        MOVED[precision] * size
        + LARGEST_STEP[precision] * size.max(axis=0, keepdims=True)
        + WEIGHT[precision] * np.abs(np.nan_to_num(a[:-1]))
        + 1e-30
    )
    broken = ~np.isfinite(steps[0]) & ~np.isfinite(steps[1])
    with np.errstate(invalid="ignore"):
        away = np.where(broken, 0.0, np.nan_to_num(np.abs(steps[0] - steps[1]), nan=np.inf))
    return steps, away, bounds


def alike(twins: Twins, penalties: Penalties) -> bool:
    """True if both optimisers take the same steps on gradients to which those of each side's
    penalties are added: one side's penalty is then the other's weight decay."""
    names = [name for name in trained(twins.pair.sides["a"]) if name in twins.pair.of_layers]
    for regime in (SOME, NONE):
        paths = paths_of(twins, regime, names, penalties)
        for name, a in paths["a"].items():
            _, away, bounds = apart(a, paths["b"][name], twins.precision)
            if np.any(away > bounds):
                return False
    return True
