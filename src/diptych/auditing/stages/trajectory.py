"""Trajectory: real training steps of both sides from the same weights, on the same batches.

The yardstick is the first side against itself from weights that are moved by rounding: so fast does
rounding grow in this network's training. As long as it is small, both paths are held against each
other. Over all steps, which parameters move and how far is compared; that does not depend on
rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.match import Match
from diptych.auditing.naming import steps as naming
from diptych.auditing.pair import SIDES, Pair, Which, trained
from diptych.auditing.report import Stage
from diptych.auditing.twins import REACH, Twins, moved

NAME = "trajectory"
FEW, MANY = 40, 1_100
"""Steps that are always taken, and those that a small network takes."""
PARAMETERS, ACTIVATIONS = 40_000_000, 400_000_000
"""Numbers that all steps together may go through."""
WATCHED = 64
"""Numbers of each parameter that are compared."""
INFORMATIVE = 0.05
"""The share of the way from the start that rounding may be for a step to be compared exactly."""
WINDOW = 50
"""Steps over which movements are added up where rounding has grown too large."""
RATIO = 3.0
"""How much further one side may move in a window than the other, beyond the yardstick."""
STILL = 1e-6
"""A movement so much smaller than the largest is none."""
LASTING = 10
"""Steps for which one side must be still while the other moves."""
IDLE = {TWINS: 1e-11, FLOAT32: 1e-6}
"""A gradient so much smaller than the largest is zero in truth, by the precision."""


@dataclass
class Path:
    """A side's way: by A's names, the watched numbers; and the losses."""

    losses: np.ndarray
    weights: Arrays
    """(steps + 1, watched)."""


def check(twins: Twins, report: Reporter) -> Stage:
    """Compares losses and weights step by step."""
    stage, pair = Stage(NAME), twins.pair
    steps = _count(twins) if twins.own_code["steps"] else FEW
    places = _places(pair)
    batches = {which: _batches(twins, which) for which in SIDES}
    of_b = pair.transfer.places_to_b(places, pair.sides["a"].own)
    with twins.used(stage.coverage):
        start = twins.start()
        twins.load(start)
        gradients = twins.answers["a"].loss_and_gradients(*batches["a"][0])[1]
        idle = _idle(gradients, IDLE[twins.precision])
        answers = twins.ask(
            lambda side, which: side.steps(batches[which], steps, places if which == "a" else of_b)
        )
        side = twins.answers["a"]
        side.load(moved(start))
        near = Path(*side.steps(batches["a"], steps, places))
    losses, weights = answers["b"]
    found = {
        n: weights[partner] for n, partner in pair.transfer.names.items() if partner in weights
    }
    a, b = Path(*answers["a"]), Path(losses, found)
    learned = set(trained(pair.sides["a"])) - idle
    if unsteady := sorted(idle & a.weights.keys() & b.weights.keys()):
        reason = "its gradient is zero up to rounding, and an optimiser may still take steps"
        stage.coverage.leave_out(f"the steps of {', '.join(unsteady)}", reason)
    _close(twins, stage, a, b, near, learned, report)
    if stage.ok and not report.has():
        _movements(pair, stage, (a, b, near), learned, report)
    stage.coverage.compared(steps, batches_of=_size(twins))
    stage.coverage.steps = steps
    return stage


def _idle(gradients: Arrays, share: float) -> set[str]:
    """The parameters whose gradients are zero but for rounding, such as those of a bias before
    batch normalisation. Adam divides such a gradient by its own size, and moves it at random."""
    sizes = {name: float(np.abs(value).max(initial=0.0)) for name, value in gradients.items()}
    largest = max(sizes.values(), default=0.0)
    return {name for name, size in sizes.items() if 0 < size < share * largest}


def _count(twins: Twins) -> int:
    """The number of steps, by the numbers that one step goes through."""
    pair = twins.pair
    size = sum(value.size for value in pair.sides["a"].own.values())
    activations = sum(int(np.prod(node.shape)) for node in pair.a.nodes) * _size(twins)
    most = min(PARAMETERS // max(1, size), ACTIVATIONS // max(1, activations))
    return int(np.clip(most, FEW, MANY))


def _size(twins: Twins) -> int:
    return max(1, len(twins.examples.x["a"]) // 4)


def _places(pair: Pair) -> Arrays:
    """The watched numbers of A's parameters, as `Answers.steps` takes them."""
    chance = np.random.default_rng(8)
    places = {}
    for name in pair.transfer.names:
        size = pair.sides["a"].own[name].size
        places[name] = chance.choice(size, size=min(WATCHED, size), replace=False)
    return places


def _batches(twins: Twins, which: Which) -> list[tuple[np.ndarray, np.ndarray]]:
    size = _size(twins)
    x, y = twins.typed(twins.examples.x[which]), twins.examples.y[which]
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
) -> None:
    """Compares the paths as long as rounding leaves them alike."""
    names = [name for name in a.weights if name in learned and name in b.weights]
    joined = [np.concatenate([p.weights[n] for n in names], axis=1) for p in (a, b, near)]
    yard = np.maximum.accumulate(_rms(joined[0] - joined[2]))
    way = np.maximum.accumulate(_rms(joined[0] - joined[0][:1]))
    floor = twins.floor(1e-3 * float(_rms(joined[0][:1])[0]))
    bounds = twins.unit * REACH[twins.precision] * yard + floor
    differences = _rms(joined[0] - joined[1])
    informative = bounds <= np.maximum(INFORMATIVE * way, 2 * floor)
    informative[0] = True  # Before the first step, nothing has moved.
    last = len(bounds) - 1 if informative.all() else int(np.argmin(informative)) - 1
    ratios = differences[1 : max(2, last + 1)] / bounds[1 : max(2, last + 1)]
    step = 1 + int(np.argmax(np.nan_to_num(ratios, nan=np.inf)))
    stage.largest_difference, stage.rounding_bound = float(differences[step]), float(bounds[step])
    stage.note = f"weights compared up to step {max(1, last):,}, by root mean square"
    if differences[step] <= bounds[step]:
        return
    if any(twins.draws.values()):
        reason = "the user's code draws different random numbers in each step"
        stage.coverage.leave_out("the weights after each step", reason)
        stage.note = "compared which parameters change, and by how much"
        return
    stage.ok = False
    if report.has():
        stage.note += "; expected from the other findings"
        return
    if naming.explain(twins.pair, twins.examples, twins.weights, report):
        return
    if _frozen(twins.pair, (a, b, near), learned, report):
        return
    first = 1 + int(np.argmax(~(ratios <= 1)))
    report(
        "unexplained",
        a="its steps",
        b="different steps",
        effect=f"weights differ from step {first} on by {differences[first]:.3g} (rounding "
        f"explains up to {bounds[first]:.1e}), though gradients and optimiser are the same; the "
        f"losses at that step are {a.losses[first - 1]:.6g} and {b.losses[first - 1]:.6g}",
    )


def _rms(values: np.ndarray) -> np.ndarray:
    """The root mean square of each row."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf)
        return np.sqrt(np.mean(np.square(finite), axis=1)) if values.size else np.zeros(len(values))


def _movements(
    pair: Pair, stage: Stage, paths: tuple[Path, Path, Path], learned: set[str], report: Reporter
) -> None:
    """Compares which parameters move at which steps, and how far in a window of steps."""
    if _frozen(pair, paths, learned, report):
        stage.ok = False
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
    """Reports the first parameter that one side alone moves for some steps, if there is one."""
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
    for match in pair.matches:
        for name in match.a.parameters.values() if match.a and match.b else ():
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
