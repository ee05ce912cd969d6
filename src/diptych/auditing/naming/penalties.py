"""Penalties on parameters in a loss: measured, and compared with penalties and decay."""

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.losses import Formula
from diptych.auditing.naming.losses import SIZES, Outputs, written
from diptych.auditing.pair import Pair
from diptych.auditing.probes.paths import Penalties, alike
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins
from diptych.auditing.weights import Weights


def zeros(weights: Arrays) -> Arrays:
    """Weights for which every penalty is 0."""
    return {name: np.zeros_like(value) for name, value in weights.items()}


def decayed(twins: Twins, a: Formula, b: Formula) -> Penalties:
    """The penalties of both sides, if they differ but the other optimiser's weight decay makes the
    steps the same; else empty."""
    squares = {"a": a["penalties"]["squares"], "b": b["penalties"]["squares"]}
    names = twins.pair.transfer.names
    of_a = {names[name]: factor for name, factor in squares["a"].items() if name in names}
    both = {
        name: (of_a.get(name, 0.0), squares["b"].get(name, 0.0)) for name in of_a | squares["b"]
    }
    if not twins.pair.whole or all(np.isclose(*factors, rtol=0.01) for factors in both.values()):
        return {}
    exact = {
        which: {name: written(factor) for name, factor in factors.items()}
        for which, factors in squares.items()
    }
    try:
        return exact if alike(twins, exact) else {}
    except (Failed, Unable):
        return {}


def value(factors: dict[str, float], parameters: Arrays) -> float:
    """The value of the squared penalties in a loss."""
    return sum(
        factor * float(np.sum(np.square(parameters[name], dtype=np.float64)))
        for name, factor in factors.items()
    )


def measured(outputs: Outputs, weights: Arrays) -> dict[str, dict[str, float]]:
    """The factors of squared and absolute parameters in the loss, measured one by one."""
    side = outputs.pair.sides[outputs.which]
    random = np.random.default_rng(2)
    whole = {
        name: random.normal(0, 1, value.shape).astype(np.float32) for name, value in weights.items()
    }
    nothing = zeros(weights)
    bare = outputs.loss(SIZES[0])

    def extra(parameters: Arrays) -> float:
        side.load(nothing | parameters)
        return outputs.loss(SIZES[0]) - bare

    factors: dict[str, dict[str, float]] = {"squares": {}, "absolutes": {}}
    if abs(extra(whole)) > 1e-5 * max(1.0, abs(bare)):
        for name, value in whole.items():
            once = extra({name: value})
            if abs(once) <= 1e-6 * max(1.0, abs(bare)):
                continue
            power = np.log2(abs(extra({name: 2 * value}) / once))
            if power > 1.5:
                squares = float(np.sum(np.square(value, dtype=np.float64)))
                factors["squares"][name] = once / squares
            else:
                factors["absolutes"][name] = once / float(np.sum(np.abs(value), dtype=np.float64))
    side.load(nothing)
    return factors


def compare(pair: Pair, weights: Weights, a: Formula, b: Formula, report: Reporter) -> None:
    for form, words in (
        ("squares", "the sum of squares"),
        ("absolutes", "the sum of absolute values"),
    ):
        of_a, of_b = a["penalties"][form], b["penalties"][form]
        for match in pair.matches:
            for role, name, partner in match.parameters():
                factors = of_a.get(name, 0.0), of_b.get(partner, 0.0)
                difference = abs(factors[0] - factors[1])
                if difference <= 0.01 * max(factors):
                    continue
                squares = float(np.sum(np.square(weights["a"][name], dtype=np.float64)))
                penalties = [
                    f"{factor:.3g} times {words} of the {role}" if factor else "no penalty"
                    for factor in factors
                ]
                effect = f"{difference * squares:.3g} of the loss with the current weights"
                report(
                    "regularisation",
                    at=match,
                    a=penalties[0],
                    b=penalties[1],
                    effect=effect if form == "squares" else "",
                )
