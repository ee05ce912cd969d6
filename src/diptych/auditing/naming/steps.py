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


def _batches(examples: Examples, which: Which) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = examples.x[which], examples.y[which]
    size = max(1, len(x) // 4)
    rows = [np.arange(i * size, (i + 1) * size) % len(x) for i in range(STEPS)]
    return [(x[part], y[part]) for part in rows]


def _distance(parameters: Arrays, watched: Arrays) -> float:
    """The root mean square distance from the watched numbers."""
    squares = [np.square(parameters[n].ravel().astype(np.float64) - v) for n, v in watched.items()]
    return float(np.sqrt(np.mean(np.concatenate(squares))))
