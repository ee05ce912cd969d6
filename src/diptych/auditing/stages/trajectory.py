"""Trajectory: real training steps of both sides from the same weights, on the same batches.

Where the paths are not one and the same but for the last digits, the yardstick is the first side
against itself from weights that are moved by rounding: so fast does rounding grow in this network's
training. As long as it is small, both paths are held against each other. Over all steps, which
parameters move and how far is compared; that does not depend on rounding.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from diptych.auditing.endings import as_one
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.later_outputs import compare_later
from diptych.auditing.match import Match
from diptych.auditing.naming import rates
from diptych.auditing.naming import steps as naming
from diptych.auditing.pair import SIDES, Pair, Which, averages_of, trained
from diptych.auditing.report import Stage
from diptych.auditing.side import Path
from diptych.auditing.twins import REACH, WAYS, Twins, distance, moved
from diptych.auditing.weights import without_gradient

NAME = "trajectory"
SHORT = 24
"""Steps where no code of the users' runs in one: counters are then in the optimiser, of which the
stage update takes more steps, or in the schedule."""
FEW, MANY = 40, 1_100
"""Steps that are always taken otherwise, and those that a small network takes."""
PARAMETERS, ACTIVATIONS = 24_000_000, 240_000_000
"""The maximum number of values that all steps together process."""
AGAIN = 60_000_000
"""The maximum number of activations in the steps before random draws are compared again."""
WATCHED = 64
"""The number of values of each parameter that are compared."""
SLIGHT = 10.0
"""The factor by which a difference may exceed what one way of rounding explains for others to be
tried."""
INFORMATIVE = 0.05
"""The share of the way from the start that rounding may be for a step to be compared exactly."""
WINDOW = 50
"""Steps over which movements are added up where rounding has grown too large."""
RATIO = 3.0
"""The allowed factor between the movements of both sides in a window, beyond rounding."""
STILL = 1e-6
"""A movement that is smaller than the largest one by this factor counts as none."""
LASTING = 10
"""The number of steps that one side must not move while the other does."""
CAUSES = ("mode", "randomness", "loss", "gradients", "update", NAME)
"""Stages whose findings explain a difference in what the networks draw later on."""


def check(twins: Twins, report: Reporter) -> Stage:
    """Compares losses and weights step by step."""
    stage, pair = Stage(NAME), twins.pair
    steps = _count(twins) if twins.own_code["steps"] else SHORT
    places = _places(pair)
    batches = {which: _batches(twins, which) for which in SIDES}
    of_b = pair.transfer.places_to_b(places, pair.sides["a"].own)
    with twins.used(stage.coverage):
        start = twins.start()
        twins.load(start)
        gradients = twins.answers["a"].loss_and_gradients(*batches["a"][0])[1]
        idle = without_gradient(gradients, twins.precision)
        x = {which: batches[which][0][0] for which in SIDES}
        averages = {which: averages_of(pair.graphs[which]) for which in SIDES}
        answers = twins.ask(
            lambda side, which: side.path(
                batches[which],
                steps,
                places if which == "a" else of_b,
                x[which],
                averages[which],
            )
        )
        weights = answers["b"].weights
        found = {
            n: weights[partner] for n, partner in pair.transfer.names.items() if partner in weights
        }
        a, b = answers["a"], replace(answers["b"], weights=found)
        learned = set(trained(pair.sides["a"])) - idle
        near = a
        if not _are_one(twins, a, b, learned):
            side = twins.answers["a"]

            def moved_by(way: int) -> Path:
                side.load(moved(start, way))
                return side.path(batches["a"], steps, places, x["a"], averages["a"])

            near = _near(twins, a, b, learned, moved_by)
    if unsteady := sorted(idle & a.weights.keys() & b.weights.keys()):
        reason = "its gradient is zero up to rounding, and an optimiser may still take steps"
        stage.coverage.leave_out(f"the steps of {', '.join(unsteady)}", reason)
    drawn = _close(twins, stage, a, b, near, learned, report)
    if stage.ok and not report.has():
        _movements(pair, stage, (a, b, near), learned, report, sizes=not drawn)
    stage.coverage.compared(steps, batches_of=_size(twins))
    stage.coverage.steps = steps
    if stage.ok and not report.has(*CAUSES, "predictions"):
        _predictions(twins, stage, (a, b, near), steps, report)
    draws = any(twins.network_draws.values()) or a.silenced or b.silenced
    if stage.ok and draws and twins.own_code["steps"] and not report.has(*CAUSES):
        with twins.used(stage.coverage):
            again = int(np.clip(AGAIN // _activations(twins), FEW, steps))
            compare_later(twins, batches, again, stage, report)
    return stage


def _predictions(
    twins: Twins, stage: Stage, paths: tuple[Path, Path, Path], steps: int, report: Reporter
) -> None:
    """Compares the predictions after all steps, with the weights before them: a counter or an
    average may count in predictions alone."""
    a, b, near = (path.predictions for path in paths)
    if a is None or b is None or near is None:
        if twins.own_code["steps"]:
            reason = "a side's adapter cannot give them"
            stage.coverage.leave_out("predictions after the first step", reason)
        return
    one, other = as_one(twins.pair, {"a": a, "b": b})
    size = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    difference = distance(one, other)
    rounding = distance(a.astype(np.float64), near.astype(np.float64))
    bound = twins.floor(size) + twins.unit * REACH[twins.precision] * rounding
    if difference <= bound:
        stage.coverage.compared(1, predictions=f"after step {steps:,}")
        return
    if any(twins.draws.values()):
        reason = "the user's code draws different random numbers in each step"
        stage.coverage.leave_out("predictions after the first step", reason)
        return
    stage.ok = False
    effect = (
        f"with the same weights, after {steps:,} steps, predictions differ by up to "
        f"{difference:.3g} (rounding explains up to {bound:.1e})"
    )
    report(
        "inference", a="its predictions after training", b="different predictions", effect=effect
    )


def _are_one(twins: Twins, a: Path, b: Path, learned: set[str]) -> bool:
    """True if the paths are the same at every step but for the last digits, so that no yardstick
    is needed."""
    one, other = _joined((a, b), _compared(a, b, learned))
    if np.any(_rms(one - other) > _floor(twins, one)):
        return False
    if a.predictions is not None and b.predictions is not None:
        size = float(np.abs(a.predictions).max(initial=0.0))
        if distance(*as_one(twins.pair, {"a": a.predictions, "b": b.predictions})) > (
            twins.floor(size)
        ):
            return False
    moving = [steps for _, _, steps in _moving(twins.pair, (a, b, a), learned)]
    largest = max((float(steps[0].max(initial=0.0)) for steps in moving), default=0.0)
    return all(
        _first_still(*(step > STILL * largest for step in steps)) is None
        and _window(*steps) is None
        for steps in moving
    )


def _compared(a: Path, b: Path, learned: set[str]) -> list[str]:
    """The parameters whose weights are compared."""
    return [name for name in a.weights if name in learned and name in b.weights]


def _joined(paths: tuple[Path, ...], names: list[str]) -> list[np.ndarray]:
    """The watched numbers of all these parameters, (steps + 1, watched)."""
    return [np.concatenate([path.weights[n] for n in names], axis=1) for path in paths]


def _floor(twins: Twins, path: np.ndarray) -> float:
    """The root mean square difference that never counts."""
    return twins.floor(1e-3 * float(_rms(path[:1])[0]))


def _count(twins: Twins) -> int:
    """The number of steps, by the numbers that one step goes through."""
    size = sum(value.size for value in twins.pair.sides["a"].own.values())
    most = min(PARAMETERS // max(1, size), ACTIVATIONS // _activations(twins))
    return int(np.clip(most, FEW, MANY))


def _activations(twins: Twins) -> int:
    """The number of activations in a step."""
    return max(1, sum(int(np.prod(node.shape)) for node in twins.pair.a.nodes) * _size(twins))


def _size(twins: Twins) -> int:
    return max(1, len(twins.examples.x["a"]) // 4)


def _places(pair: Pair) -> Arrays:
    """The places of the watched values of A's parameters, in the form of `Answers.steps`."""
    chance = np.random.default_rng(8)
    places = {}
    for name in pair.transfer.names:
        size = pair.sides["a"].own[name].size
        places[name] = chance.choice(size, size=min(WATCHED, size), replace=False)
    return places


def _batches(twins: Twins, which: Which) -> list[tuple[np.ndarray, np.ndarray]]:
    size = _size(twins)
    x, y = twins.inputs[which], twins.examples.y[which]
    rows = [np.arange(i * size, (i + 1) * size) % len(x) for i in range(4)]
    return [(x[part], y[part]) for part in rows]


def _close(
    twins: Twins,
    stage: Stage,
    a: Path,
    b: Path,
    near: Path,
    learned: set[str],
    report: Reporter,
) -> bool:
    """Compares the paths as long as rounding leaves them alike. True where they are not compared,
    since code of the sides' own draws random numbers."""
    joined = _joined((a, b, near), _compared(a, b, learned))
    differences, bounds, last = _rounded(twins, joined)
    ratios = differences[1 : max(2, last + 1)] / bounds[1 : max(2, last + 1)]
    step = 1 + int(np.argmax(np.nan_to_num(ratios, nan=np.inf)))
    stage.largest_difference, stage.rounding_bound = float(differences[step]), float(bounds[step])
    stage.note = f"weights compared up to step {max(1, last):,}, by root mean square"
    if differences[step] <= bounds[step]:
        return False
    if any(twins.draws.values()):
        reason = "the user's code draws different random numbers in each step"
        stage.coverage.leave_out("the weights after each step", reason)
        stage.largest_difference = stage.rounding_bound = None
        stage.note = "compared which parameters change"
        return True
    stage.ok = False
    if naming.explain_by_tokens(twins.pair, twins.examples, twins.weights, report):
        return False
    if report.has():
        stage.note += "; expected from the other findings"
        return False
    if naming.explain(twins.pair, twins.examples, twins.weights, report):
        return False
    if _frozen(twins.pair, (a, b, near), learned, report):
        return False
    if naming.explain_by_gradient(twins.pair, twins.examples, twins.weights, report):
        return False
    first = 1 + int(np.argmax(~(ratios <= 1)))
    of_a, of_b = (np.diff(path[first - 1 : first + 1], axis=0)[0] for path in joined[:2])
    if rates.explain_step(of_a, of_b, first, report):
        return False
    report(
        "unexplained",
        a="its steps",
        b="different steps",
        effect=f"weights differ from step {first} on by {differences[first]:.3g} (rounding "
        f"explains up to {bounds[first]:.1e}), though gradients and optimiser are the same; the "
        f"losses at that step are {a.losses[first - 1]:.6g} and {b.losses[first - 1]:.6g}",
    )
    return False


def _rounded(twins: Twins, joined: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """The differences of both paths, what rounding explains of them, and the last step at which
    that is little of the way.

    Args:
        twins: both sides.
        joined: the watched numbers of A, of B and of A moved by rounding, (steps + 1, watched).
    """
    yard = np.maximum.accumulate(_rms(joined[0] - joined[2]))
    way = np.maximum.accumulate(_rms(joined[0] - joined[0][:1]))
    floor = _floor(twins, joined[0])
    bounds = twins.unit * REACH[twins.precision] * yard + floor
    informative = bounds <= np.maximum(INFORMATIVE * way, 2 * floor)
    informative[0] = True  # Before the first step, nothing has moved.
    last = len(bounds) - 1 if informative.all() else int(np.argmin(informative)) - 1
    return _rms(joined[0] - joined[1]), bounds, last


def _near(
    twins: Twins, a: Path, b: Path, learned: set[str], moved_by: Callable[[int], Path]
) -> Path:
    """A's path from weights that rounding has moved, in the way that leads furthest away; others
    than the first are tried where it nearly explains the difference of both sides."""
    names = _compared(a, b, learned)
    near = moved_by(0)
    for way in range(1, WAYS):
        differences, bounds, last = _rounded(twins, _joined((a, b, near), names))
        most = float(np.max(differences[1 : max(2, last + 1)] / bounds[1 : max(2, last + 1)]))
        if not 1 < most < SLIGHT:
            break
        one, other = near, moved_by(way)
        away = [np.linalg.norm(np.subtract(*_joined((a, path), names))) for path in (one, other)]
        near = one if away[0] >= away[1] else other
    return near


def _rms(values: np.ndarray) -> np.ndarray:
    """The root mean square of each row."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf)
        return np.sqrt(np.mean(np.square(finite), axis=1)) if values.size else np.zeros(len(values))


def _movements(
    pair: Pair,
    stage: Stage,
    paths: tuple[Path, Path, Path],
    learned: set[str],
    report: Reporter,
    sizes: bool,
) -> None:
    """Compares which parameters move at which steps, and if ``sizes``, how far in a window of
    steps."""
    if _frozen(pair, paths, learned, report):
        stage.ok = False
        return
    if not sizes:
        return
    for match, name, steps in _moving(pair, paths, learned):
        window = _window(*steps)
        if window is not None:
            start, ratio = window
            report(
                "unexplained",
                at=match,
                a="its steps",
                b=f"steps {ratio:.3g} times as large",
                effect=f"parameter {name}, from step {start + 1} to {start + WINDOW}",
            )
            stage.ok = False
            return


def _frozen(
    pair: Pair, paths: tuple[Path, Path, Path], learned: set[str], report: Reporter
) -> bool:
    """Reports the first parameter that only one side changes for some steps, if there is one."""
    moving = list(_moving(pair, paths, learned))
    largest = max((float(steps[0].max(initial=0.0)) for _, _, steps in moving), default=0.0)
    for match, name, steps in moving:
        moves = [step > STILL * largest for step in steps]
        first = _first_still(*moves)
        if first is not None:
            words = ["is trained", f"does not change from step {first} on"]
            of_a, of_b = words if moves[0][first - 1] else words[::-1]
            effect = f"parameter {name}, of {len(moves[0]):,} steps"
            report("frozen-parameter", at=match, a=of_a, b=of_b, effect=effect)
            return True
    return False


def _moving(
    pair: Pair, paths: tuple[Path, Path, Path], learned: set[str]
) -> Iterator[tuple[Match, str, list[np.ndarray]]]:
    """Each learned parameter with its layer, and its movement in each step of A, B and near A."""
    a, b, near = (path.weights for path in paths)
    for match, name in pair.transferred():
        if name in learned and name in a and name in b:
            yield match, name, [_steps(weights[name]) for weights in (a, b, near)]


def _steps(path: np.ndarray) -> np.ndarray:
    """The root mean square movement in each step."""
    return _rms(np.diff(path.astype(np.float64), axis=0))


def _first_still(a: np.ndarray, b: np.ndarray, near: np.ndarray) -> int | None:
    """The first step, counted from 1, from which on one side moves and the other does not, for
    some steps. Where the first side itself moves or not by rounding alone, nothing is said."""
    differ = (a != b) & (a == near)
    runs = np.convolve(differ, np.ones(LASTING, int), "valid") == LASTING
    return int(np.argmax(runs)) + 1 if runs.any() else None


def _window(a: np.ndarray, b: np.ndarray, near: np.ndarray) -> tuple[int, float] | None:
    """The first window in which one side moves much further than the other."""
    own = 1.0
    for start in range(0, len(a) - WINDOW + 1, WINDOW):
        sums = [float(np.sum(steps[start : start + WINDOW])) + 1e-300 for steps in (a, b, near)]
        own = max(own, sums[2] / sums[0], sums[0] / sums[2])
        ratio = sums[1] / sums[0]
        if max(ratio, 1 / ratio) > RATIO * own:
            return start, ratio
    return None
