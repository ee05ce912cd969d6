"""Predictions: the outputs of the whole networks in inference, as their users call them."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.drawn_outputs import EXAMPLES, compare, look
from diptych.auditing.endings import as_one
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.places import Place, inputs_at, places, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable
from diptych.auditing.twins import Twins, distance, moved, nudged

NAME = "predictions"
CAUSES = ("structure", "forward", "mode")
"""Stages whose findings explain a difference in predictions."""
NOTHING = 4
"""The number of examples that are zero."""
ALIKE = 1e-6
"""The relative difference up to which outputs count as the same when a cause is named."""


@dataclass
class Result:
    """The result at one place."""

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


def check(twins: Twins, report: Reporter) -> Stage:
    """Compares the outputs of both sides at all places."""
    stage = Stage(NAME)
    results: list[Result] = []
    with twins.used(stage.coverage):
        start = twins.start()
        if _drawn(twins, start, stage, report):
            return stage
        for place in [*places(twins), Place("moved", 0.0, NOTHING)]:
            try:
                result = _at(twins, place, start, stage)
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(str(place), str(problem))
                continue
            stage.coverage.compared(1, **place.extents)
            stage.saw(result.difference, result.bound)
            results.append(result)
        different = [result for result in results if result.differs]
        stage.ok = not different
        if different and not report.has(*CAUSES):
            _explain(twins, results, different, report)
    return stage


def _drawn(twins: Twins, start: Arrays, stage: Stage, report: Reporter) -> bool:
    """Compares predictions as distributions if a side draws random numbers in inference too; False
    if none does."""
    x = {which: twins.inputs[which][:EXAMPLES] for which in SIDES}
    weights = weights_at(Place("moved", 1.0, EXAMPLES), start)
    twins.load(weights)
    try:
        looks = look(twins, x, training=False)
        varies = looks.varies
    except (Failed, Unable):
        return False
    if not any(varies.values()):
        return False
    if all(varies.values()):
        different, spreads = compare(twins, x, False, weights, looks, stage.coverage)
        stage.note = "as distributions, because both networks draw random numbers in inference"
        words = [f"outputs in inference deviate by {spreads[which]:.4g}" for which in SIDES]
        effect = "the distributions of {} differ, p = {:.1g}".format(*different or ("", 0))
        stage.ok = different is None
    else:
        stage.coverage.compared(1)
        words = [
            "draws random numbers in inference" if varies[which] else "draws none in inference"
            for which in SIDES
        ]
        effect, stage.ok = "", False
    if not stage.ok and not report.has(*CAUSES):
        report("inference", a=words[0], b=words[1], effect=effect)
    return True


def _at(twins: Twins, place: Place, start: Arrays, stage: Stage) -> Result:
    """Compares the outputs at one place."""
    weights = weights_at(place, start)
    x, _ = inputs_at(place, twins)
    twins.load(weights)
    outputs = twins.ask(lambda side, which: side.outputs(x[which], training=False)[0])
    a, b = as_one(twins.pair, outputs)
    if a.shape == b.shape and outputs["a"].size != outputs["b"].size:
        more: Which = "a" if outputs["a"].size > outputs["b"].size else "b"
        label = twins.pair.sides[more].label
        stage.coverage.leave_out(f"other outputs of {label}", "the other side has none of them")

    def near(way: int) -> np.ndarray:
        side = twins.answers["a"]
        side.load(moved(weights, way))
        close = side.outputs(nudged(x["a"], np.random.default_rng(1 + way)), training=False)[0]
        return as_one(twins.pair, {"a": close, "b": outputs["b"]}, like=a)[0]

    difference = distance(a, b)
    bound = twins.bound(a, difference, near)
    if a.shape != b.shape:
        return Result(place, difference, bound, 0)
    away = np.nan_to_num(np.abs(a - b).reshape(len(a), -1), nan=np.inf)
    return Result(place, difference, bound, int(away.max(1).argmax()))


def _explain(
    twins: Twins, results: list[Result], different: list[Result], report: Reporter
) -> None:
    """Names a difference: at some batch sizes, in inference only, or without a known cause."""
    worst = max(different, key=lambda result: result.difference / result.bound)
    sizes = {result.place.size for result in different}
    alike = {r.place.size for r in results if not r.differs and r.place.weights == "moved"}
    if not sizes & alike and alike:
        words = [_at_size(twins, which, worst.place) for which in SIDES]
        only = ", ".join(str(size) for size in sorted(sizes))
        effect = f"{worst}; only with batches of {only}"
        report("batch-dependence", a=words[0], b=words[1], effect=effect)
        return
    trains = all(side.trains for side in twins.pair.sides.values())
    said = [_inference(twins, which, worst.place) if trains else None for which in SIDES]
    if None not in said and said[0] != said[1]:
        report("inference", a=str(said[0]), b=str(said[1]), effect=str(worst))
        return
    a, b = "its outputs with the same weights", "different outputs"
    report("unexplained", a=a, b=b, effect=str(worst))


def _at_size(twins: Twins, which: Which, place: Place) -> str:
    """The dependence of a side's outputs for an example on the batch size, in words."""
    x = inputs_at(Place(place.weights, place.scale, max(2, place.size)), twins)[0][which]
    side = twins.answers[which]
    here = side.outputs(x[: place.size], training=False)[0]
    there = side.outputs(np.concatenate([x, x[:1]]), training=False)[0][: place.size]
    same = distance(here, there) <= ALIKE * float(np.abs(there).max(initial=0.0))
    return "outputs do not depend on the batch size" if same else "outputs depend on the batch size"


def _inference(twins: Twins, which: Which, place: Place) -> str | None:
    """The difference between a side's predictions and its outputs in training, in words; None if
    that is unknown."""
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
    return "predicts as it trains" if same else "predicts differently than in training"
