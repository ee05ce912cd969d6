"""Gradients: the loss and every parameter's gradient in training.

They are compared with dropout off. If the networks draw random numbers, their gradients are also
compared as distributions with everything on: code can draw the same outputs and differentiate
through them in another way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from diptych.auditing import saturation
from diptych.auditing.certificate import FLOAT32, TWINS
from diptych.auditing.drawn_gradients import LOSS, Difference, compare_drawn
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.losses import Formula
from diptych.auditing.match import Match
from diptych.auditing.naming import gradients as naming
from diptych.auditing.pair import SIDES, Which
from diptych.auditing.probes.paths import Penalties
from diptych.auditing.probes.places import Place, inputs_at, places, weights_at
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Unable
from diptych.auditing.twins import Twins, distance, moved, nudged

NAME = "gradients"
ROUNDED = {TWINS: 2.0**-46, FLOAT32: 2.0**-21}
"""The error of a loss or gradient that is zero in truth, relative to an ordinary one."""
SAME_FACTOR = 0.1
"""The relative difference up to which the factors of a loss and of its gradients are one."""
CAUSES = ("structure", "forward", "predictions", "mode", "randomness", "loss")
"""Stages whose findings explain a difference in gradients."""
DRAWS = ("dropout-rate", "noise", "augmentation", "training-mode")
"""Findings of other stages that explain a difference in what the networks draw."""


def check(
    twins: Twins,
    formulas: dict[Which, Formula | None],
    decay: Penalties,
    asked: bool,
    report: Reporter,
) -> Stage:
    """Compares loss and gradients at all places; names the cause where they differ.

    Args:
        twins: both sides.
        formulas: of the losses, as far as they are known.
        decay: penalties that are in one side's loss and in the other's steps; they are left out.
        asked: whether the losses were compared on given outputs. If not, they are compared here.
        report: takes the findings.
    """
    stage = Stage(NAME)
    before = len(report.audit.findings)
    worst = Worst()
    with twins.used(stage.coverage):
        start = twins.start()
        for place in places(twins):
            try:
                _at(twins, place, start, decay, stage, worst)
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(str(place), str(problem))
        if worst.ratio > 1 and any(twins.draws.values()):
            return drawn(twins, start, asked, report)
        stage.ok = worst.ratio <= 1
        if stage.ok:
            _with_draws(twins, start, decay, stage, report)
            return stage
    clean = not report.has(*CAUSES)
    if clean and not asked and worst.of_loss:
        a, b = (side.loss_words or "a custom loss" for side in twins.pair.sides.values())
        report("loss", a=a, b=b, effect=worst.of_loss, stage="loss")
        stage.note = "expected from the other findings"
        return stage
    named = naming.explain(
        twins.pair, twins.examples, twins.weights, twins.float32_unit, formulas, clean, report
    )
    if not named and clean:
        report("unexplained", at=worst.match, a=worst.what, b="another one", effect=worst.effect)
    if len(report.audit.findings) == before:
        stage.note = "expected from the other findings"
    return stage


def drawn(twins: Twins, start: Arrays, asked: bool, report: Reporter) -> Stage:
    """Compares loss and gradients as distributions, because the user's code draws random numbers
    that cannot be switched off; ``asked`` as in `check`."""
    stage = Stage(NAME)
    stage.coverage.precision = twins.precision
    stage.note = "as distributions, because the user's code draws random numbers"
    weights = weights_at(Place("moved", 1.0, 0), start)
    with_dropout = not _are_comparable(twins)
    lacks = twins.pair.lacks("drawn_gradients") if with_dropout else ""

    def ask(
        side: Answers, which: Which, x: np.ndarray, y: np.ndarray, draw: int
    ) -> tuple[float, Arrays]:
        answer = side.drawn_gradients if with_dropout else side.loss_and_gradients
        return answer(x, y, draw)

    try:
        if lacks:
            raise Unable(lacks)
        different = compare_drawn(twins, weights, stage.coverage, ask)
    except Unable as problem:
        if not with_dropout:
            raise
        own = [side.label for which, side in twins.pair.sides.items() if twins.draws[which]]
        reason = f"the code of {' and '.join(own)} draws random numbers even with dropout off"
        stage.ok, stage.note = None, f"{reason}; with it on: {problem}"
        return stage
    stage.ok = different is None
    if different and not report.has(*CAUSES):
        _name_drawn(twins, different, asked, report)
    return stage


def _with_draws(
    twins: Twins, start: Arrays, decay: Penalties, stage: Stage, report: Reporter
) -> None:
    """Compares loss and gradients with everything on as distributions, if both networks draw and
    code of either user runs in a step: the framework differentiates its own layers."""
    if not twins.own_code["steps"] or not all(twins.network_draws.values()):
        return
    if reason := twins.pair.lacks("drawn_gradients"):
        stage.coverage.leave_out("gradients with dropout on", reason)
        return
    weights = weights_at(Place("moved", 1.0, 0), start)
    of_side = {"a": weights, "b": twins.pair.transfer.to_b(weights)}

    def ask(
        side: Answers, which: Which, x: np.ndarray, y: np.ndarray, draw: int
    ) -> tuple[float, Arrays]:
        answer = side.drawn_gradients(x, y, draw)
        return without(decay[which], of_side[which], *answer)

    try:
        different = compare_drawn(twins, weights, stage.coverage, ask)
    except (Failed, Unable) as problem:
        stage.coverage.leave_out("gradients with dropout on", str(problem))
        return
    if different is None:
        return
    stage.ok = False
    codes = {finding.code for finding in report.audit.findings}
    if codes & set(DRAWS) or report.has(*(set(CAUSES) - {"structure"})):
        stage.note = "expected from the other findings"
        return
    a, b = (
        f"gradients deviate by {different.deviations[which]:.4g} from draw to draw"
        for which in SIDES
    )
    report("randomness", a=a, b=b, effect=different.effect)


def _name_drawn(twins: Twins, different: Difference, asked: bool, report: Reporter) -> None:
    """Names a difference of distributions: a scaled loss, scaled gradients, or another spread."""
    effect = different.effect
    of_loss, of_gradients = different.of_loss, different.of_gradients
    if of_loss is not None and of_loss == 1.0:
        b = f"{of_gradients:.3g} times such gradients"
        report("gradient-scale", a="the gradients of its loss", b=b, effect=effect)
    elif of_loss is not None and of_gradients is not None:
        b = f"{of_loss:.3g} times such a loss"
        if abs(of_gradients - of_loss) > SAME_FACTOR * abs(of_loss):
            b += f", with {of_gradients:.3g} times its gradients"
        report("loss", a="its loss", b=b, effect=effect, stage="loss")
    elif not asked and different.statistic == LOSS and not different.is_of_spread:
        a, b = (side.loss_words or "a custom loss" for side in twins.pair.sides.values())
        report("loss", a=a, b=b, effect=effect, stage="loss")
    elif different.is_of_spread:
        words = [_spread(twins, which, different.deviations[which]) for which in SIDES]
        report("randomness", a=words[0], b=words[1], effect=effect)
    else:
        report("unexplained", a="loss and gradients", b="different distributions", effect=effect)


def _are_comparable(twins: Twins) -> bool:
    """True if dropout is off on both sides. Dropout in the user's own code stays on, while that of
    a framework is switched off."""
    graphs = [twins.pair.graphs[which] for which in SIDES]
    a, b = (sum(node.kind == "dropout" for node in graph.nodes) for graph in graphs)
    if all(twins.draws.values()) or a != b:
        return a == b
    return a > 0 or not all(twins.network_draws.values())


def _spread(twins: Twins, which: Which, deviation: float) -> str:
    """The variation of a side's gradients, in words."""
    if not twins.draws[which]:
        return "gradients do not vary with dropout off"
    return f"gradients deviate by {deviation:.3g} from draw to draw with dropout off"


class Worst:
    """The difference that rounding explains least."""

    def __init__(self) -> None:
        self.ratio, self.what, self.effect = 1.0, "", ""
        self.match: Match | None = None
        self.of_loss = ""
        """The effect of a difference of the loss itself, if there is one."""
        self.ordinary: tuple[float, float] | None = None
        """The loss and the largest gradient at the first place."""

    def least(self, loss: float, gradient: float, share: float) -> tuple[float, float]:
        """The differences of losses and of gradients that rounding explains at any place: of one
        example, a batch normalisation leaves zeros, and all that is learned from it is rounding."""
        self.ordinary = self.ordinary or (abs(loss), gradient)
        sizes = [size if np.isfinite(size) else 0.0 for size in self.ordinary]
        return share * sizes[0], share * sizes[1]

    def take(
        self, difference: float, bound: float, match: Match | None, what: str, at: str
    ) -> None:
        """Adds one difference."""
        effect = (
            f"they differ by up to {difference:.3g} (rounding explains up to {bound:.1e}) with {at}"
        )
        if difference > bound and what == LOSS:
            self.of_loss = self.of_loss or effect
        if difference / bound > self.ratio:
            self.ratio, self.match, self.what = difference / bound, match, what
            self.effect = effect


def without(
    factors: dict[str, float], parameters: Arrays, loss: float, gradients: Arrays
) -> tuple[float, Arrays]:
    """A loss and its gradients without squared penalties."""
    for name, factor in factors.items():
        value = parameters[name].astype(np.float64)
        loss -= factor * float(np.sum(value**2))
        if name in gradients:
            gradients = gradients | {name: gradients[name] - 2 * factor * value}
    return loss, gradients


@dataclass(frozen=True)
class _Comparison:
    """The comparison of one answer of both sides: a loss, or a gradient."""

    difference: float
    bound: float
    match: Match | None
    what: str


def _at(
    twins: Twins, place: Place, start: Arrays, decay: Penalties, stage: Stage, worst: Worst
) -> None:
    """Compares both sides at one place, if they differ without examples whose probabilities a loss
    may clip."""
    weights = weights_at(place, start)
    x, y = inputs_at(place, twins)
    twins.load(weights)
    comparisons = list(_compared(twins, weights, x, y, decay, stage, worst))
    while any(c.difference > c.bound for c in comparisons):
        twins.load(weights)
        kept = ~_saturated(twins, x)
        if kept.all():
            break
        stage.coverage.leave_out(f"{place}: {(~kept).sum()} examples", saturation.REASON)
        if not kept.any():
            return
        x, y = ({which: values[which][kept] for which in SIDES} for values in (x, y))
        comparisons = list(_compared(twins, weights, x, y, decay, stage, worst))
    stage.coverage.compared(len(comparisons), **place.extents)
    for c in comparisons:
        stage.saw(c.difference, c.bound)
        worst.take(c.difference, c.bound, c.match, c.what, str(place))


def _saturated(twins: Twins, x: dict[Which, np.ndarray]) -> np.ndarray:
    """Shows for which examples a probability of either side is near 0 or 1, bool (n,)."""
    if twins.pair.narrowed:
        return np.zeros(len(x["a"]), bool)
    near, shown = saturation.NEAR[twins.precision], []
    for training in (False, True):
        outputs = twins.ask(lambda side, which, on=training: side.outputs(x[which], on)[0])
        shown += [saturation.saturated(twins.pair, w, outputs[w], near) for w in SIDES]
    return np.any(shown, axis=0)


def _compared(
    twins: Twins,
    weights: Arrays,
    x: dict[Which, np.ndarray],
    y: dict[Which, np.ndarray],
    decay: Penalties,
    stage: Stage,
    worst: Worst,
) -> Iterator[_Comparison]:
    """Compares the loss and the gradients of both sides, which have these weights."""
    pair = twins.pair
    of_side = {"a": weights, "b": pair.transfer.to_b(weights)}

    def ask(side: Answers, which: Which) -> tuple[float, Arrays]:
        answer = side.loss_and_gradients(x[which], y[which])
        return without(decay[which], of_side[which], *answer)

    answers = twins.ask(ask)

    @cache
    def near(way: int) -> tuple[float, Arrays]:
        side, close = twins.answers["a"], moved(weights, way)
        side.load(close)
        answer = side.loss_and_gradients(nudged(x["a"], np.random.default_rng(1 + way)), y["a"])
        return without(decay["a"], close, *answer)

    losses = [np.array(answers[which][0]) for which in SIDES]
    of_a, of_b = answers["a"][1], pair.transfer.to_a(answers["b"][1])
    largest = max((float(np.abs(g).max(initial=0.0)) for g in of_a.values()), default=0.0)
    share = twins.unit * ROUNDED[twins.precision]
    of_loss, of_gradient = worst.least(float(losses[0]), largest, share)
    difference = distance(losses[0], losses[1])
    bound = of_loss + twins.bound(
        losses[0], difference - of_loss, lambda way: np.array(near(way)[0])
    )
    yield _Comparison(difference, bound, None, LOSS)
    # A bias in front of a normalisation has a gradient of nothing but rounding.
    floor = of_gradient + twins.floor(largest)
    of_layers = set(pair.of_layers)
    for match, name in pair.transferred():
        if not (name in of_a or name in of_b):
            continue
        if name not in of_layers and not (name in of_a and name in of_b):
            # A generator's loss also has a gradient for the discriminator, which PyTorch computes.
            reason = "one side has none of this loss; the trained weights are compared"
            stage.coverage.leave_out(f"gradient of {name}", reason)
            continue
        zeros = np.zeros_like(weights[name])
        a, b = of_a.get(name, zeros), of_b.get(name, zeros)
        difference = distance(a, b)
        bound = floor + twins.bound(
            a, difference - floor, lambda way, name=name, zeros=zeros: near(way)[1].get(name, zeros)
        )
        yield _Comparison(difference, bound, match, f"gradient of {name}")
