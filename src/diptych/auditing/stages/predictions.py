"""Predictions: what the whole networks give in inference, as their users call them."""

import numpy as np
from scipy import special

from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes.places import Place, inputs_at, places, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Unable
from diptych.auditing.twins import Twins, distance, moved, nudged
from diptych.errors import InputError

NAME = "predictions"
CAUSES = ("structure", "forward", "mode")
"""Stages whose findings make one expect other predictions."""
FUNCTIONS = {
    None: lambda z: z,
    "softmax": lambda z: special.softmax(z, axis=-1),
    "log_softmax": lambda z: special.log_softmax(z, axis=-1),
    "sigmoid": special.expit,
}
"""The final activations that a loss may take the place of."""


def check(pair: Pair, twins: Twins, sizes: tuple[int, ...] = ()) -> Stage:
    """Compares the outputs of both at all places."""
    stage = Stage(NAME)
    if not pair.whole():
        stage.ok, stage.note = None, "not all weights of one side have a place in the other"
        return stage
    worst: tuple[float, Place, str] | None = None
    with twins.used(stage.coverage):
        start = twins.start()
        for place in [*places(pair, sizes), Place("moved", 0.0, 4)]:
            try:
                difference, bound, example = _at(twins, place, start)
            except InputError as problem:
                stage.coverage.leave_out(str(place), str(problem))
                continue
            stage.coverage.compared(1, **place.extents)
            stage.saw(difference, bound)
            if difference > bound and (worst is None or difference / bound > worst[0]):
                effect = (
                    f"outputs differ by up to {difference:.3g} (rounding explains up to "
                    f"{bound:.1e}) with {place}, most on example {example}"
                )
                worst = (difference / bound, place, effect)
    stage.ok = worst is None
    if worst and not any(finding.stage in CAUSES for finding in pair.audit.findings):
        _report(pair, twins, stage, worst[2])
    return stage


def _at(twins: Twins, place: Place, start: dict[str, np.ndarray]) -> tuple[float, float, int]:
    """The difference at one place, what rounding explains of it, and the example where it is."""
    weights = weights_at(place, start)
    x, _ = inputs_at(place, twins)
    twins.load(weights)
    outputs = twins.ask(lambda side, which: side.outputs(x[which], training=False)[0])
    a, b = as_one(twins.pair, outputs)
    side = twins.answers["a"]
    side.load(moved(weights))
    near = side.outputs(nudged(x["a"], np.random.default_rng(1)), training=False)[0]
    bound = twins.bound(a, FUNCTIONS[_missing(twins.pair)["a"]](near) if a.shape == near.shape else a)
    if a.shape != b.shape:
        return float("inf"), bound, 0
    away = np.abs(a - b).reshape(len(a), -1)
    return distance(a, b), bound, int(np.nan_to_num(away, nan=np.inf).max(1).argmax())


def as_one(pair: Pair, outputs: dict[Which, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of both behind the same final activation.

    Where one network ends in a softmax and the other leaves it to the loss, that is a matter of
    style. It is not where their training has the same end.
    """
    a, b = outputs["a"].astype(np.float64), outputs["b"].astype(np.float64)
    b = b.reshape(a.shape) if a.size == b.size else b
    if a.shape == b.shape and distance(a, b) <= 1e-9 * float(np.abs(a).max(initial=1.0)):
        return a, b
    missing = _missing(pair)
    return FUNCTIONS[missing["a"]](a), FUNCTIONS[missing["b"]](b)


def _missing(pair: Pair) -> dict[Which, str | None]:
    """The final activation that each side lacks and the other has."""
    finals = {which: pair.final[which] for which in SIDES}
    if finals["a"] == finals["b"]:
        return {"a": None, "b": None}
    return {"a": None if finals["a"] else finals["b"], "b": None if finals["b"] else finals["a"]}


def _report(pair: Pair, twins: Twins, stage: Stage, effect: str) -> None:
    """Says whether the two differ only when they predict, or in training too."""
    x = {which: twins.typed(pair.x[which]) for which in SIDES}
    twins.load(twins.start())
    try:
        runs = twins.ask(lambda side, which: side.outputs(x[which], training=True, runs=2))
    except (InputError, Unable):
        runs = {}
    alike = False
    if runs and all(np.array_equal(y[0], y[1]) for y in runs.values()):
        a, b = as_one(pair, {which: y[0] for which, y in runs.items()})
        alike = distance(a, b) <= 1e-6 * float(np.abs(a).max(initial=0.0))
    if alike:
        said = ("predicts as it trains", "predicts something else")
        _inference(pair, twins, effect)
        return
    pair.found(NAME, "unexplained", None, "outputs on the same weights", "other outputs", effect)


def _inference(pair: Pair, twins: Twins, effect: str) -> None:
    said = {}
    for which in SIDES:
        x = twins.typed(pair.x[which])
        side = twins.answers[which]
        one, other = (side.outputs(x, training=training)[0] for training in (False, True))
        same = distance(one, other) <= 1e-6 * float(np.abs(other).max(initial=0.0))
        said[which] = "predicts as it trains" if same else "predicts something else than in training"
    pair.found(NAME, "inference", None, said["a"], said["b"], effect)
