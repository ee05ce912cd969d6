"""Training steps that differ although gradients and optimiser are the same."""

import numpy as np

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import Pair, Which, trained
from diptych.auditing.side import Unable
from diptych.auditing.weights import Weights

STEPS = 3


def explain(pair: Pair, examples: Examples, weights: Weights, report: Reporter) -> bool:
    """Reports gradients that are not cleared on one side; returns whether they are the cause."""
    for which, side in pair.sides.items():
        batches = _batches(examples, which)
        shapes = {name: side.own[name].shape for name in trained(side)}
        places = {name: np.arange(side.own[name].size) for name in shapes}
        try:
            _, path = side.steps(batches, STEPS, places)
            gradients: list[Arrays] = []
            for step, (x, y) in enumerate(batches):
                if step:
                    side.load({n: path[n][step].reshape(shape) for n, shape in shapes.items()})
                gradients.append(side.loss_and_gradients(x, y)[1])
            side.load(weights[which])
            sums = [
                {
                    name: np.sum([g[name] for g in gradients[: i + 1]], axis=0)
                    for name in gradients[0]
                }
                for i in range(STEPS)
            ]
            apart, piled = side.updates_on(gradients), side.updates_on(sums)
        except Unable:
            continue
        finally:
            side.load(weights[which])
        last = {name: path[name][STEPS] for name in places}
        if _distance(piled[-1], last) < 0.1 * _distance(apart[-1], last):
            words = ["cleared before each step", "added to those of the steps before"]
            a, b = words[::-1] if which == "a" else words
            effect = "from the second step on"
            report("gradients-not-cleared", a=a, b=b, effect=effect, stage="gradients")
            return True
    return False


Deviations = dict[Which, dict[str, float]]
"""By side and A's name of a parameter, how far a training step is from the optimiser's step on the
gradient of its batch, relative to that."""
OTHER, ITS_OWN = 0.02, 0.002
"""Deviations of a step that is not the optimiser's on that gradient, and of one that is."""


def explain_by_gradient(pair: Pair, examples: Examples, weights: Weights, report: Reporter) -> bool:
    """Reports the first parameter for which one side alone takes a step that is not its
    optimiser's step on its own gradient; returns True if there is one.

    Keras on TensorFlow hands an embedding's gradient over as one row for each token. Most
    optimisers square these rows without adding up those of a token that comes repeatedly.
    """
    deviations: Deviations = {}
    for which in pair.sides:
        try:
            deviations[which] = _deviations(pair, examples, weights, which)
        except Unable:
            return False
    for match in pair.matches:
        for _, name, _ in match.parameters():
            sizes = [deviations[which].get(name, 0.0) for which in pair.sides]
            if max(sizes) > OTHER and min(sizes) < ITS_OWN:
                words = [
                    "its optimiser's step on the gradient"
                    if size < ITS_OWN
                    else f"a step that is {size:.0%} off its optimiser's on the gradient"
                    for size in sizes
                ]
                effect = f"parameter {name}"
                if match.a and match.a.kind == "embedding":
                    effect += "; the rows of a repeated token may be squared one by one"
                report("unexplained", at=match, a=words[0], b=words[1], effect=effect)
                return True
    return False


def _deviations(pair: Pair, examples: Examples, weights: Weights, which: Which) -> dict[str, float]:
    side, names = pair.sides[which], pair.transfer.names
    batch = _batches(examples, which)[0]
    places = {name: np.arange(side.own[name].size) for name in trained(side)}
    side.load(weights[which])
    try:
        _, path = side.steps([batch], 1, places)
        step = side.updates_on([side.loss_and_gradients(*batch)[1]])[0]
    finally:
        side.load(weights[which])
    deviations = {}
    for name in names:
        own = name if which == "a" else names[name]
        if own in path and own in step:
            wanted = step[own].ravel().astype(np.float64) - path[own][0]
            away = path[own][1] - path[own][0] - wanted
            deviations[name] = float(np.linalg.norm(away) / (np.linalg.norm(wanted) or 1.0))
    return deviations


def _batches(examples: Examples, which: Which) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = examples.x[which], examples.y[which]
    size = max(1, len(x) // 4)
    rows = [np.arange(i * size, (i + 1) * size) % len(x) for i in range(STEPS)]
    return [(x[part], y[part]) for part in rows]


def _distance(parameters: Arrays, watched: Arrays) -> float:
    """The root mean square distance from the watched numbers."""
    squares = [np.square(parameters[n].ravel().astype(np.float64) - v) for n, v in watched.items()]
    return float(np.sqrt(np.mean(np.concatenate(squares))))
