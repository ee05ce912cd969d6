"""Loss: its values on outputs of the audit's choice, and the formula that they are told from.

The values decide, on the float64 twins if there are any: for every class, for small and large
outputs, for several batch sizes, and on large weights for penalties. The formulas give a difference
its name.
"""

import contextlib
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from diptych.auditing import saturation
from diptych.auditing.endings import ended
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.losses import Formula
from diptych.auditing.match import Final
from diptych.auditing.naming import penalties
from diptych.auditing.naming.formulas import REDUCTIONS, compare, described
from diptych.auditing.naming.losses import SIZES, Outputs, recovered
from diptych.auditing.naming.penalties import zeros
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes import targets as probes
from diptych.auditing.probes.paths import Penalties
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Unable
from diptych.auditing.twins import CONSTANTS, Twins

NAME = "loss"
CLOSE = 2e-5
"""The allowed relative difference of a loss of a few examples from its formula."""

Formulas = dict[Which, Formula | None]
"""The formula per side; None if no known formula gives the side's values."""


@dataclass(frozen=True)
class Losses:
    """The losses of both sides."""

    stage: Stage
    formulas: Formulas
    decay: Penalties
    """The squared penalties that are in one side's loss and in the other's steps."""

    @property
    def asked(self) -> bool:
        """True if both losses were compared on given outputs."""
        return self.stage.coverage.probes > 0


def check(twins: Twins, report: Reporter) -> Losses:
    """Recovers both formulas with their penalties and compares them, then compares the values."""
    stage, pair, examples = Stage(NAME), twins.pair, twins.examples
    if pair.narrowed:
        return _of_more(pair, pair.narrowed, stage)
    close = min(0.02, CLOSE * twins.float32_unit)
    values: dict[Which, list[float]] = {}
    formulas: Formulas = {}
    for which in SIDES:
        formulas[which], values[which] = _recovered(twins, which, close, stage)
    a, b = formulas["a"], formulas["b"]
    words = {which: str(getattr(pair.sides[which], "loss_words", "")) for which in SIDES}
    decay: Penalties = penalties.decayed(twins, a, b) if a and b else {}
    decay = decay or {which: {} for which in SIDES}
    several = any(isinstance(final, tuple) for final in pair.final.values())
    worst = _different(twins, decay, close, stage)
    effect = worst.effect
    ends = [pair.final[which] for which in SIDES]
    of_ends = [f"{_words(end)} at the end" for end in ends]
    if several and effect and ends[0] != ends[1] and _ends_explain(twins):
        report("activation", a=of_ends[0], b=of_ends[1], effect=effect)
    elif a is None or b is None:
        _compare_values(stage, values, formulas, close, words, report)
    else:
        alike = twins.has_float64 and not effect
        compare(a, b, _effect(pair, examples), alike, report)
        if any(decay.values()):
            report.note(
                "the squared penalty of one side equals the weight decay of the other: the steps "
                "are the same"
            )
        else:
            penalties.compare(pair, twins.weights, a, b, report)
    named = report.has(NAME)
    if effect and not named:
        of_a, of_b = described(a, words["a"]), described(b, words["b"])
        code = "loss"
        if worst.of_weights and of_a == of_b:
            code = "regularisation"
            of_a, of_b = (
                f"a loss of {value:.8g} with random weights" for value in worst.of_weights
            )
            effect = "with weights of zero the losses are the same"
        elif ends[0] != ends[1] and of_a == of_b:
            code, (of_a, of_b) = "activation", of_ends
        report(code, a=of_a, b=of_b, effect=effect)
    stage.ok = not report.has(NAME)
    if a and stage.ok:
        reduction = REDUCTIONS.get(a["reduction"], a["reduction"])
        stage.note = f"{a['kind'].replace('_', ' ')}, {reduction}"
    return Losses(stage, formulas, decay)


def _of_more(pair: Pair, which: Which, stage: Stage) -> Losses:
    """The result if the loss of one side takes outputs that the other side does not have."""
    count = len(pair.several[which])
    stage.ok = None
    stage.note = (
        f"{pair.sides[which].label}'s loss takes {count} outputs, of which the other side has one; "
        "both losses are compared with the gradients"
    )
    nothing: Penalties = {side: {} for side in SIDES}
    return Losses(stage, dict.fromkeys(SIDES), nothing)


def _recovered(
    twins: Twins, which: Which, close: float, stage: Stage
) -> tuple[Formula | None, list[float]]:
    """A side's formula with its penalties, if there is one, and the values that it is told from.

    Raises:
        Failed: the side's loss fails on its own examples.
    """
    pair, examples, side = twins.pair, twins.examples, twins.pair.sides[which]
    with contextlib.suppress(Unable):
        side.loss_and_gradients(examples.x[which], examples.y[which])
    outputs = Outputs(pair, which, examples.raw_y[which])
    side.load(zeros(twins.weights[which]))
    try:
        formula, values = recovered(outputs, close)
        if isinstance(pair.final[which], tuple):
            formula = None  # A formula is of one output.
        if formula is not None:
            formula["final"] = pair.final[which]
            formula["penalties"] = penalties.measured(outputs, twins.weights[which])
        return formula, values
    except (Failed, Unable) as problem:  # On outputs and targets that are the audit's.
        stage.coverage.leave_out(f"the formula of {side.label}", str(problem))
        return None, []
    finally:
        side.load(twins.weights[which])


@dataclass
class _Worst:
    """The difference of two losses that exceeds rounding most."""

    stage: Stage
    relative: float
    """The relative difference that rounding explains."""
    ratio: float = 1.0
    effect: str = ""
    of_weights: tuple[float, float] | None = None
    """The losses that differ, if they do so with random weights and not with weights of zero."""

    def bound(self, a: float, b: float) -> float:
        """The difference of two losses that rounding explains."""
        return self.relative * max(1e-3, *(abs(v) for v in (a, b) if np.isfinite(v)), 1e-3)

    def away(self, a: float, b: float) -> float:
        """The difference of two losses, infinite if one of them is no number."""
        return abs(a - b) if np.isfinite([a, b]).all() else float("inf")

    def saw(self, a: float, b: float, where: str, of_weights: bool = False) -> None:
        """Adds the losses of both sides for the same outputs."""
        away, bound = self.away(a, b), self.bound(a, b)
        self.stage.saw(away, bound)
        if away > self.ratio * bound:
            self.of_weights = (a, b) if of_weights and not self.effect else None
            self.ratio = away / bound
            self.effect = f"on the same outputs the losses are {a:.8g} and {b:.8g} ({where})"


def _different(twins: Twins, decay: Penalties, close: float, stage: Stage) -> _Worst:
    """The largest difference beyond rounding, if there is any."""
    worst = _Worst(stage, 4 * CONSTANTS if twins.has_float64 else close)
    refused: dict[str, str] = {}
    with twins.used(stage.coverage), twins.kept():
        for weights in ("no", "random") if twins.pair.whole else ("no",):
            _load(twins, weights)
            batches = probes.batches(twins.pair, twins.examples)
            for batch in batches if weights == "no" else islice(batches, 1):
                try:
                    a, b = _losses(twins, batch)
                except (Failed, Unable) as problem:
                    refused[batch.name] = str(problem)
                    continue
                if not np.isfinite([a, b]).any():
                    stage.coverage.leave_out(batch.name, "neither loss is finite there")
                    continue
                if weights == "random":
                    a, b = (
                        loss - penalties.value(decay[which], _random(twins, which))
                        for which, loss in zip(SIDES, (a, b), strict=True)
                    )
                elif _clipped(twins, batch, worst, a, b):
                    stage.coverage.leave_out(batch.name, saturation.REASON)
                    continue
                stage.coverage.compared(1, **_extents(twins, batch, weights))
                worst.saw(a, b, f"{batch.name}, {weights} weights", weights == "random")
        if refused and not stage.coverage.probes:
            refused = {"outputs outside the range of the network": next(iter(refused.values()))}
            _on_own_outputs(twins, worst)
    for name, problem in refused.items():
        stage.coverage.leave_out(name, problem)
    return worst


def _clipped(twins: Twins, batch: probes.Batch, worst: _Worst, a: float, b: float) -> bool:
    """True if two losses differ, and are the same where no probability is near 0 or 1."""
    if worst.away(a, b) <= worst.bound(a, b):
        return False
    near = saturation.NEAR[twins.precision]
    logits = saturation.limited(twins.pair, batch.logits, near)
    if logits is None or np.array_equal(logits, batch.logits):
        return False
    try:
        one, other = _losses(twins, replace(batch, logits=logits))
    except (Failed, Unable):
        return False
    return worst.away(one, other) <= worst.bound(one, other)


def _on_own_outputs(twins: Twins, worst: _Worst) -> None:
    """Compares losses that refuse numbers of the audit's choice, such as those that take numbers
    between 0 and 1 alone, on what A's network gives for the examples."""
    pair, examples = twins.pair, twins.examples
    if pair.final["a"] != pair.final["b"]:
        return
    twins.load(twins.start())
    try:
        outputs = twins.answers["a"].outputs(twins.inputs["a"], False)[0]
        _load(twins, "no")
        for size in (size for size in probes.SIZES if size <= len(outputs)):
            losses = twins.ask(
                lambda side, which, size=size: side.loss(outputs[:size], examples.y[which][:size])
            )
            if np.isfinite([losses["a"], losses["b"]]).any():
                worst.stage.coverage.compared(1, batches_of=size, outputs="A's own")
                worst.saw(losses["a"], losses["b"], f"batches of {size}, A's own outputs")
    except (Failed, Unable) as problem:
        worst.stage.coverage.leave_out("the losses on A's own outputs", str(problem))


def _extents(twins: Twins, batch: probes.Batch, weights: str) -> dict[str, object]:
    if batch.name.startswith("labels"):
        count = twins.pair.a.nodes[-1].shape[-1]
        return {"labels_of": f"each of {count} classes", "weights": weights}
    return {
        "batches_of": batch.size,
        "outputs_of_deviation": f"{batch.scale:g}",
        "weights": weights,
    }


def _load(twins: Twins, weights: str) -> None:
    """Zeros, for which penalties are 0, or weights for which each penalty is large."""
    if weights == "no":
        for which, side in twins.answers.items():
            nothing = zeros(twins.weights[which])
            side.load({name: twins.typed(value) for name, value in nothing.items()})
        return
    for which, side in twins.answers.items():
        side.load(_random(twins, which))


def _random(twins: Twins, which: Which) -> Arrays:
    """Weights for which each penalty is large, by a side's names."""
    random = np.random.default_rng(2)
    of_a = {
        name: np.abs(random.standard_normal(value.shape)).astype(value.dtype)
        for name, value in twins.start().items()
        if value.dtype.kind == "f"
    }
    return of_a if which == "a" else twins.pair.transfer.to_b(of_a)


def _losses(twins: Twins, batch: probes.Batch, final: Final = None) -> tuple[float, float]:
    """The loss of each side; behind ``final``, where that is given, and not its own end."""

    def ask(side: Answers, which: Which) -> float:
        z = ended(twins.pair, which, batch.logits, final)
        return side.loss(twins.typed(z), batch.targets[which])

    answers = twins.ask(ask)
    return answers["a"], answers["b"]


def _ends_explain(twins: Twins) -> bool:
    """True if both losses agree on outputs behind the final activations of one side."""
    batch = next(probes.batches(twins.pair, twins.examples))
    with contextlib.suppress(Failed, Unable):
        for final in filter(None, twins.pair.final.values()):
            a, b = _losses(twins, batch, final)
            if abs(a - b) <= CLOSE * max(1e-3, abs(a)):
                return True
    return False


def _words(final: Final) -> str:
    """The final activations of a side."""
    if isinstance(final, tuple):
        return ", ".join(end or "none" for end in final)
    return final or "none (linear)"


def _effect(pair: Pair, examples: Examples) -> str:
    """The loss of each side on the same outputs."""
    values = [Outputs(pair, which, examples.raw_y[which]).loss(SIZES[0]) for which in SIDES]
    return f"on the same outputs the losses are {values[0]:.6g} and {values[1]:.6g}"


def _compare_values(
    stage: Stage,
    values: dict[Which, list[float]],
    formulas: Formulas,
    close: float,
    words: dict[Which, str],
    report: Reporter,
) -> None:
    """Compares the values of losses if one has no known formula."""
    for a, b in zip(values["a"], values["b"], strict=False):  # A side may have given none.
        bound = close * max(1e-3, abs(a))
        stage.saw(abs(a - b), bound)
        both_broken = not np.isfinite(a) and not np.isfinite(b)
        if not abs(a - b) <= bound and not both_broken:
            report(
                "loss",
                a=described(formulas["a"], words["a"]),
                b=described(formulas["b"], words["b"]),
                effect=f"on the same outputs the losses are {a:.6g} and {b:.6g}",
            )
            return
