"""Training steps that differ although gradients and optimiser are the same."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Step:
    """A training step of a parameter beside its optimiser's step on the gradient of the batch."""

    away: np.ndarray
    """Their difference, in the shape of the parameter."""
    wanted: np.ndarray
    """The optimiser's step on the gradient."""

    @property
    def deviation(self) -> float:
        """The size of the difference, relative to the step's."""
        return float(np.linalg.norm(self.away) / (np.linalg.norm(self.wanted) or 1.0))


Steps = dict[Which, dict[str, _Step]]
"""By side and A's name of a parameter."""
OTHER, ITS_OWN = 0.02, 0.002
"""Deviations of a step that is not the optimiser's on that gradient, and of one that is."""


def explain_by_tokens(pair: Pair, examples: Examples, weights: Weights, report: Reporter) -> bool:
    """Reports the first embedding whose gradient one side's optimiser squares row by row for a
    repeated token; returns True if there is one.

    Keras on TensorFlow hands an embedding's gradient over as one row for each token. Most
    optimisers square these rows without adding up those of a token that comes repeatedly. Such a
    side takes another step than its optimiser's on the gradient, for repeated tokens alone. That is
    seen in one side by itself, whatever else differs.
    """
    embeddings = [
        (match, name)
        for match in pair.matches
        if match.a and match.b and match.a.kind == match.b.kind == "embedding"
        for _, name, _ in match.parameters()
    ]
    steps = _steps(pair, examples, weights) if embeddings else None
    if steps is None:
        return False
    for match, name in embeddings:
        found = {which: steps[which][name] for which in steps if name in steps[which]}
        if len(found) < len(steps):
            continue
        one, other = (_is_by_rows(found[which], _batches(examples, which)[0][0]) for which in found)
        alone = min(step.deviation for step in found.values()) < ITS_OWN
        if one != other and alone:
            words = ["squares a repeated token's gradients one by one", "squares their sum"]
            a, b = words if one else words[::-1]
            off = max(found.values(), key=lambda step: step.deviation)
            effect = f"parameter {name}: a step is {off.deviation:.0%} off, in the rows of tokens "
            effect += "that come repeatedly"
            report("repeated-tokens", at=match, a=a, b=b, effect=effect, stage="update")
            return True
    return False


def _is_by_rows(step: _Step, x: np.ndarray) -> bool:
    """True if a step is off in rows of tokens alone that are in the batch repeatedly."""
    if step.deviation <= OTHER:
        return False
    rows = np.arange(len(step.wanted))
    ids, counts = np.unique(np.rint(x[np.isfinite(x)]), return_counts=True)
    repeated = np.isin(rows, ids[counts > 1])
    size = np.linalg.norm(step.wanted) or 1.0
    return bool(np.linalg.norm(step.away[~repeated]) / size < ITS_OWN)


def explain_by_gradient(pair: Pair, examples: Examples, weights: Weights, report: Reporter) -> bool:
    """Reports the first parameter for which one side alone takes a step that is not its
    optimiser's step on its own gradient; returns True if there is one."""
    steps = _steps(pair, examples, weights)
    if steps is None:
        return False
    for match in pair.matches:
        for _, name, _ in match.parameters():
            sizes = [of[name].deviation if name in of else 0.0 for of in steps.values()]
            if max(sizes) > OTHER and min(sizes) < ITS_OWN:
                words = [
                    "its optimiser's step on the gradient"
                    if size < ITS_OWN
                    else f"a step that is {size:.0%} off its optimiser's on the gradient"
                    for size in sizes
                ]
                effect = f"parameter {name}"
                report("unexplained", at=match, a=words[0], b=words[1], effect=effect)
                return True
    return False


def _steps(pair: Pair, examples: Examples, weights: Weights) -> Steps | None:
    """A training step of each side; None if a side cannot be asked."""
    try:
        return {which: _steps_of(pair, examples, weights, which) for which in pair.sides}
    except Unable:
        return None


def _steps_of(pair: Pair, examples: Examples, weights: Weights, which: Which) -> dict[str, _Step]:
    side, names = pair.sides[which], pair.transfer.names
    batch = _batches(examples, which)[0]
    places = {name: np.arange(side.own[name].size) for name in trained(side)}
    side.load(weights[which])
    try:
        _, path = side.steps([batch], 1, places)
        step = side.updates_on([side.loss_and_gradients(*batch)[1]])[0]
    finally:
        side.load(weights[which])
    steps = {}
    for name in names:
        own = name if which == "a" else names[name]
        if own in path and own in step:
            wanted = step[own].ravel().astype(np.float64) - path[own][0]
            away = path[own][1] - path[own][0] - wanted
            shape = side.own[own].shape
            steps[name] = _Step(away.reshape(shape), wanted.reshape(shape))
    return steps


def _batches(examples: Examples, which: Which) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = examples.x[which], examples.y[which]
    size = max(1, len(x) // 4)
    rows = [np.arange(i * size, (i + 1) * size) % len(x) for i in range(STEPS)]
    return [(x[part], y[part]) for part in rows]


def _distance(parameters: Arrays, watched: Arrays) -> float:
    """The root mean square distance from the watched numbers."""
    squares = [np.square(parameters[n].ravel().astype(np.float64) - v) for n, v in watched.items()]
    return float(np.sqrt(np.mean(np.concatenate(squares))))
