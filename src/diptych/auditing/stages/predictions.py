"""Predictions: what the whole networks give in inference, as their users call them."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes.places import Place, inputs_at, places, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins, distance, moved, nudged

NAME = "predictions"
CAUSES = ("structure", "forward", "mode")
"""Stages whose findings make one expect other predictions."""
NOTHING = 4
"""Examples of zeros."""
ALIKE = 1e-6
"""The relative distance of outputs that are said to be the same when a difference is named."""
FUNCTIONS = {
    None: lambda z: z,
    "softmax": lambda z: special.softmax(z, axis=-1),
    "log_softmax": lambda z: special.log_softmax(z, axis=-1),
    "sigmoid": special.expit,
}
"""The final activations that a loss may take the place of."""


@dataclass
class Result:
    """What was seen at one place."""

    place: Place
    difference: float
    bound: float
    example: int
    """The example that differs most."""

    @property
    def differs(self) -> bool:
        return not self.difference <= self.bound

    def __str__(self) -> str:
        return (
            f"outputs differ by up to {self.difference:.3g} (rounding explains up to "
            f"{self.bound:.1e}) with {self.place}, most on example {self.example}"
        )


def check(pair: Pair, twins: Twins) -> Stage:
    """Compares the outputs of both at all places."""
    stage = Stage(NAME)
    if not pair.whole():
        stage.ok, stage.note = None, "not all weights of one side have a place in the other"
        return stage
    results: list[Result] = []
    with twins.used(stage.coverage):
        start = twins.start()
        for place in [*places(pair, twins.sizes), Place("moved", 0.0, NOTHING)]:
            try:
                result = _at(twins, place, start)
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(str(place), str(problem))
                continue
            stage.coverage.compared(1, **place.extents)
            stage.saw(result.difference, result.bound)
            results.append(result)
        different = [result for result in results if result.differs]
        stage.ok = not different
        if different and not any(finding.stage in CAUSES for finding in pair.audit.findings):
            _report(twins, results, different)
    return stage


def _at(twins: Twins, place: Place, start: Arrays) -> Result:
    """Compares the outputs at one place."""
    weights = weights_at(place, start)
    x, _ = inputs_at(place, twins)
    twins.load(weights)
    outputs = twins.ask(lambda side, which: side.outputs(x[which], training=False)[0])
    side = twins.answers["a"]
    side.load(moved(weights))
    near = side.outputs(nudged(x["a"], np.random.default_rng(1)), training=False)[0]
    a, b = as_one(twins.pair, outputs)
    near, _ = as_one(twins.pair, {"a": near, "b": outputs["b"]}, like=a)
    bound = twins.bound(a, near)
    if a.shape != b.shape:
        return Result(place, float("inf"), bound, 0)
    away = np.nan_to_num(np.abs(a - b).reshape(len(a), -1), nan=np.inf)
    return Result(place, distance(a, b), bound, int(away.max(1).argmax()))


def as_one(
    pair: Pair, outputs: dict[Which, np.ndarray], like: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of both behind the same final activation.

    Where one network ends in a softmax and the other leaves it to the loss, that is a matter of
    style. It is not where both trainings have the same end.

    Args:
        pair: both sides.
        outputs: by side, (n, …).
        like: A's other outputs, which these are to be behind the same activation as.
    """
    a, b = outputs["a"].astype(np.float64), outputs["b"].astype(np.float64)
    b = b.reshape(a.shape) if a.size == b.size else b
    size = float(np.abs(a).max(initial=1.0))
    as_they_are = distance(a, b) <= 1e-9 * size
    if like is not None:
        as_they_are = distance(a, like) <= distance(_ended(pair, "a", a), like)
    return (a, b) if as_they_are else (_ended(pair, "a", a), _ended(pair, "b", b))


def _ended(pair: Pair, which: Which, y: np.ndarray) -> np.ndarray:
    """A side's outputs behind the final activation that it lacks and the other has."""
    own, other = pair.final[which], pair.final["b" if which == "a" else "a"]
    return FUNCTIONS[None if own else other](y)


def _report(twins: Twins, results: list[Result], different: list[Result]) -> None:
    """Names a difference: of some batch sizes, of inference only, or of no known cause."""
    pair = twins.pair
    worst = max(different, key=lambda result: result.difference / result.bound)
    sizes = {result.place.size for result in different}
    alike = {r.place.size for r in results if not r.differs and r.place.weights == "moved"}
    if len(sizes) < len(results) and not sizes & alike and alike:
        said = [_at_size(twins, which, worst.place) for which in SIDES]
        only = ", ".join(str(size) for size in sorted(sizes))
        pair.found(NAME, "batch-dependence", None, *said, f"{worst}; only in batches of {only}")
        return
    trains = all(side.trains for side in pair.sides.values())
    said = [_inference(twins, which, worst.place) if trains else None for which in SIDES]
    if None not in said and said[0] != said[1]:
        pair.found(NAME, "inference", None, *map(str, said), str(worst))
        return
    pair.found(
        NAME, "unexplained", None, "outputs on the same weights", "other outputs", str(worst)
    )


def _at_size(twins: Twins, which: Which, place: Place) -> str:
    """Whether a side gives an example the same outputs in a batch of another size."""
    x = inputs_at(Place(place.weights, place.scale, max(2, place.size)), twins)[0][which]
    side = twins.answers[which]
    here = side.outputs(x[: place.size], training=False)[0]
    there = side.outputs(np.concatenate([x, x[:1]]), training=False)[0][: place.size]
    same = distance(here, there) <= ALIKE * float(np.abs(there).max(initial=0.0))
    return "an example's outputs are its own" if same else "outputs depend on the batch's size"


def _inference(twins: Twins, which: Which, place: Place) -> str | None:
    """Whether a side predicts as it trains; None where that cannot be said."""
    x = inputs_at(place, twins)[0][which]
    side = twins.answers[which]
    try:
        runs = side.outputs(x, training=True, runs=2)
        predicted = side.outputs(x, training=False)[0]
    except (Failed, Unable):
        return None
    if not np.array_equal(runs[0], runs[1]):
        return None
    same = distance(runs[0], predicted) <= ALIKE * float(np.abs(runs[0]).max(initial=0.0))
    return "predicts as it trains" if same else "predicts something else than in training"
