"""Trajectory: real training steps of both sides from the same weights, on the same batches.

The yardstick is the first side against itself with weights an ulp apart: so fast does rounding grow
in this network's training. Distances are root mean squares over all weights: the largest difference
would say little of Adam, which moves a weight by its whole rate wherever rounding turns the sign of
a gradient that is nearly nothing.
"""

import numpy as np

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.kinds.registry import kind_of
from diptych.auditing.pair import Pair, Which, trained
from diptych.auditing.report import Stage
from diptych.auditing.weights import PLACES, ULP, Weights, an_ulp_off, nearby

NAME = "trajectory"
STEPS = 8
FACTOR = 64.0
"""How many times the yardstick, which rounds only once, rounding in every step may reach."""


Batches = list[tuple[np.ndarray, np.ndarray]]


def check(pair: Pair, examples: Examples, weights: Weights, unit: float, report: Reporter) -> Stage:
    """Compares the losses and the weights step by step."""
    stage = Stage(NAME)
    for number in range(PLACES):
        with nearby(pair, weights, number) as here:
            _walk(pair, examples, here, unit, stage, report, last=number == PLACES - 1)
        if stage.ok is not False or report.has():
            break
    return stage


def _walk(
    pair: Pair,
    examples: Examples,
    start: Weights,
    unit: float,
    stage: Stage,
    report: Reporter,
    last: bool,
) -> None:
    """Takes the steps from some weights; whatever is wrong is reported the last time."""
    batches = {which: _batches(examples, which) for which in ("a", "b")}
    losses, weights = {}, {}
    learned = {name for side in pair.sides.values() for name in trained(side)}
    for which, side in pair.sides.items():
        side.load(start[which])
        steps = side.steps(batches[which])
        if steps is None:
            stage.ok, stage.note = None, f"the dropout of {side.label} cannot be turned off"
            return
        losses[which], weights[which] = steps
    side = pair.sides["a"]
    side.load(start["a"] | an_ulp_off(start["a"], seed=3))
    ulp_off = side.steps(batches["a"])
    side.load(start["a"])

    # The stage mode compares moving averages.
    for path in weights.values():
        path[:] = [{k: v for k, v in step.items() if k in learned} for step in path]
    yard = distances(weights["a"], ulp_off[1] if ulp_off else weights["a"])
    differences = distances(weights["a"], [pair.transfer.to_a(step) for step in weights["b"]])
    size = distances(weights["a"][:1], [{k: 0 * v for k, v in weights["a"][0].items()}])[0]
    bounds = _factor(pair, examples) * unit * (np.maximum.accumulate(yard) + float(ULP) * size)
    with np.errstate(invalid="ignore"):
        step = int(np.argmax(np.nan_to_num(differences / bounds, nan=0.0)))
    stage.largest_difference, stage.rounding_bound = float(differences[step]), float(bounds[step])
    stage.note = f"root mean square of the weights' after {step + 1} of {STEPS} steps"
    stage.ok = bool(differences[step] <= bounds[step])
    if stage.ok:
        return
    if report.has():
        stage.note += "; as the findings make one expect"
        return
    first = int(np.argmax(differences > bounds))
    if not last or (first and _added_up(pair, batches, start, weights, report)):
        return
    report(
        "unexplained",
        a="its steps",
        b="other steps",
        effect=f"weights differ from step {first + 1} on by {differences[first]:.3g} (rounding "
        f"explains up to {bounds[first]:.1e}), though gradients and optimiser are the same; the "
        f"losses there are {losses['a'][first]:.6g} and {losses['b'][first]:.6g}",
    )


def _factor(pair: Pair, examples: Examples) -> float:
    """How much more than an ulp here and there rounding is: a batch's statistics are sums of many
    numbers, whose errors every number of a channel gets."""
    sums = [
        np.prod(node.shape[:-1])
        for node in pair.a.nodes
        if kind_of(node).in_training == "statistics"
    ]
    return FACTOR * max(1.0, float(np.sqrt(max(sums, default=0) * len(examples.x["a"]) / STEPS)))


def _batches(examples: Examples, which: Which) -> Batches:
    """The examples in batches, over and over."""
    x, y = examples.x[which], examples.y[which]
    size = max(1, len(x) // 4)
    order = [np.arange(i * size, (i + 1) * size) % len(x) for i in range(STEPS)]
    return [(x[rows], y[rows]) for rows in order]


def distances(a: list[Arrays], b: list[Arrays]) -> np.ndarray:
    """The root mean square of all weights' differences after each step, (steps,)."""
    roots = []
    for one, other in zip(a, b, strict=True):
        squares = [_squares(one[name], other[name]) for name in one if name in other]
        roots.append(np.sqrt(np.mean(np.concatenate(squares))) if squares else 0.0)
    return np.array(roots)


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared differences, flat; none where both are no numbers any more, infinite where one is."""
    away = np.abs(a.astype(np.float64) - b)
    away[~np.isfinite(a) & ~np.isfinite(b)] = 0.0
    return np.square(np.nan_to_num(away, nan=np.inf)).reshape(-1)


def _added_up(
    pair: Pair,
    batches: dict[Which, Batches],
    start: Weights,
    weights: dict[Which, list[Arrays]],
    report: Reporter,
) -> bool:
    """Whether one side's steps are those of gradients that nobody cleared; then reports it."""
    for which, side in pair.sides.items():
        gradients: list[Arrays] = []
        for step, (x, y) in enumerate(batches[which][:3]):
            if step:
                side.load(weights[which][step - 1])
            gradients.append(side.loss_and_gradients(x, y)[1])
        side.load(start[which])
        sums = [
            {name: np.sum([g[name] for g in gradients[: i + 1]], axis=0) for name in gradients[0]}
            for i in range(3)
        ]
        cleared, added = side.updates(gradients), side.updates(sums)
        if cleared is None or added is None:
            continue
        taken = weights[which][:3]
        if distances(added, taken)[2] < 0.1 * distances(cleared, taken)[2]:
            words = ["cleared before each step", "added to those of the steps before"]
            a, b = words[::-1] if which == "a" else words
            effect = "from the second step on"
            report("gradients-not-cleared", a=a, b=b, effect=effect, stage="gradients")
            return True
    return False
