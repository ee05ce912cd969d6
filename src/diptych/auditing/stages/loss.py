"""Loss: its values on outputs of the audit's choice, and the formula that they are told from.

The values decide, on the float64 twins if there are any: for every class, for small and large
outputs, for several batch sizes, and on large weights for penalties. The formulas give a difference
its name.
"""

from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from diptych.auditing import losses
from diptych.auditing.examples import Examples, random_targets, targets_as
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.kinds.curves import activate
from diptych.auditing.losses import Formula
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes import targets as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Unable
from diptych.auditing.twins import CONSTANTS, Twins
from diptych.auditing.weights import Weights
from diptych.randomness import generator

NAME = "loss"
CLOSE = 2e-5
"""How far a loss of a few examples may be from its formula, relatively."""
SIZES = (6, 4)
"""Batch sizes that tell a mean from a sum."""

TAKES: dict[tuple[str | None, str], str] = {
    (None, "logits"): "logits",
    ("log_softmax", "logits"): "logits",
    ("softmax", "probabilities"): "logits",
    ("softmax", "clipped"): "logits",
    ("softmax", "unnormalised"): "logits",
    ("log_softmax", "log_probabilities"): "logits",
    ("sigmoid", "probabilities"): "logits",
    ("softmax", "logits"): "softmax_twice",
    ("sigmoid", "logits"): "sigmoid_twice",
    ("softmax", "softmax_twice"): "softmax_thrice",
}
"""What the last layer's numbers are to the loss, by the final activation and what it takes."""
WORDS = {
    "logits": "takes the last layer's numbers as logits",
    "probabilities": "takes the last layer's numbers as probabilities, which they are not",
    "clipped": "takes the last layer's numbers as probabilities, which they are not",
    "unnormalised": "takes the last layer's numbers as probabilities, which they are not",
    "log_probabilities": "takes the last layer's numbers as logarithms of probabilities",
    "softmax_twice": "applies softmax twice",
    "softmax_thrice": "applies softmax three times",
    "sigmoid_twice": "applies the sigmoid twice",
}
REDUCTIONS = {
    "mean": "mean over the batch",
    "sum": "sum over the batch",
    "sum_of_outputs": "sum over the outputs, mean over the batch",
    "half_mean": "half the mean over the batch",
}


Formulas = dict[Which, Formula | None]
"""By side; None where no formula known here gives the side's values."""


@dataclass(frozen=True)
class Losses:
    """Both sides' losses."""

    stage: Stage
    formulas: Formulas
    clips: bool = False
    """Whether one loss takes probabilities, which it may cut off near 0, and the other takes what
    they are made of."""


def check(twins: Twins, report: Reporter) -> Losses:
    """Recovers both formulas with their penalties and compares them, then compares the values."""
    stage, pair, examples = Stage(NAME), twins.pair, twins.examples
    close = min(0.02, CLOSE * twins.float32_unit)
    values: dict[Which, list[float]] = {}
    formulas: Formulas = {}
    for which in SIDES:
        outputs = _Outputs(pair, which, examples.raw_y[which])
        pair.sides[which].load(_zeros(twins.weights[which]))
        formula, values[which] = _formula(outputs, close)
        if formula is not None:
            formula["final"] = pair.final[which]
            formula["penalties"] = _penalties(outputs, twins.weights[which])
        formulas[which] = formula
        pair.sides[which].load(twins.weights[which])
    a, b = formulas["a"], formulas["b"]
    if a is None or b is None:
        _compare_values(stage, values, formulas, close, report)
    else:
        _compare(a, b, _effect(pair, examples), report)
        _compare_penalties(pair, twins.weights, a, b, report)
    named = report.has(NAME)
    clips = bool(a and b and a["takes"] != b["takes"] and _taken(a) == _taken(b))
    effect = _different(twins, clips, close, stage)
    if effect and not named:
        report("loss", a=_described(a), b=_described(b), effect=effect)
    stage.ok = not report.has(NAME)
    if a and stage.ok:
        reduction = REDUCTIONS.get(a["reduction"], a["reduction"])
        stage.note = f"{a['kind'].replace('_', ' ')}, {reduction}"
    return Losses(stage, formulas, clips)


def _different(twins: Twins, clips: bool, close: float, stage: Stage) -> str:
    """The effect of the largest difference of values that rounding does not explain, or nothing."""
    worst, effect = 1.0, ""
    if clips:
        reason = "one loss takes probabilities and may cut them off near 0"
        stage.coverage.leave_out("outputs of deviation 30", reason)
    relative = 4 * CONSTANTS if twins.has_float64 else close
    with twins.used(stage.coverage):
        for weights in ("no", "random") if twins.pair.whole else ("no",):
            _load(twins, weights)
            batches = probes.batches(twins.pair, twins.examples, saturated=not clips)
            for batch in batches if weights == "no" else islice(batches, 1):
                try:
                    a, b = _losses(twins, batch)
                except (Failed, Unable) as problem:
                    stage.coverage.leave_out(batch.name, str(problem))
                    continue
                stage.coverage.compared(1, **_extents(twins, batch, weights))
                bound = relative * max(1e-3, *(abs(v) for v in (a, b) if np.isfinite(v)), 1e-3)
                away = 0.0 if not np.isfinite([a, b]).any() else abs(a - b)
                away = away if np.isfinite(away) else float("inf")
                stage.saw(away, bound)
                if away > worst * bound:
                    worst = away / bound
                    effect = (
                        f"on the same outputs the losses are {a:.8g} and {b:.8g} ({batch.name}, "
                        f"{weights} weights)"
                    )
    return effect


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
    """Zeros, on which no penalty has a value, or numbers on which each has a large one."""
    if weights == "no":
        for which, side in twins.answers.items():
            zeros = _zeros(twins.weights[which])
            side.load({name: twins.typed(value) for name, value in zeros.items()})
        return
    random = np.random.default_rng(2)
    twins.load(
        {
            name: np.abs(random.standard_normal(value.shape)).astype(value.dtype)
            for name, value in twins.start().items()
            if value.dtype.kind == "f"
        }
    )


def _losses(twins: Twins, batch: probes.Batch) -> tuple[float, float]:
    """The loss of each side."""

    def ask(side: Answers, which: Which) -> float:
        final = twins.pair.final[which]
        z = np.asarray(activate(final, None, batch.logits)) if final else batch.logits
        return side.loss(twins.typed(z), batch.targets[which])

    answers = twins.ask(ask)
    return answers["a"], answers["b"]


def candidates(targets: str) -> list[Formula]:
    """The formulas that a loss with such targets may be; likelier ones first."""
    if targets in ("classes", "one_hot"):
        kinds = [
            ("cross_entropy", "logits"),
            ("cross_entropy", "probabilities"),
            ("cross_entropy", "clipped"),
            ("cross_entropy", "unnormalised"),
            ("cross_entropy", "log_probabilities"),
            ("cross_entropy", "softmax_twice"),
            ("cross_entropy", "softmax_thrice"),
            ("squared", "logits"),
            ("squared", "probabilities_of_logits"),
            ("binary_cross_entropy", "logits"),
            ("binary_cross_entropy", "probabilities"),
        ]
    elif targets == "binary":
        kinds = [
            ("binary_cross_entropy", "logits"),
            ("binary_cross_entropy", "probabilities"),
            ("binary_cross_entropy", "sigmoid_twice"),
            ("squared", "logits"),
        ]
    else:
        kinds = [(k, "values") for k in ("squared", "absolute", "huber", "log_cosh")]
    reductions = ("mean", "sum", "sum_of_outputs", "half_mean", "broadcast")
    formulas: list[Formula] = [
        {"kind": kind, "takes": takes, "reduction": reduction}
        for (kind, takes), reduction in product(kinds, reductions)
    ]
    if targets in ("classes", "one_hot"):
        formulas += [
            {"kind": "cross_entropy", "takes": "logits", "reduction": "mean", "smoothing": share}
            for share in (0.05, 0.1, 0.2)
        ]
    return formulas


def _zeros(weights: Arrays) -> Arrays:
    """Weights on which no penalty has a value."""
    return {name: np.zeros_like(value) for name, value in weights.items()}


@dataclass(frozen=True)
class _Outputs:
    """Outputs and targets of our choice, to see what a side's loss makes of them."""

    pair: Pair
    which: Which
    like: np.ndarray
    """Targets as the side prepares them: (n,) is not (n, 1)."""

    def of_size(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of the last layer and targets, the same for both sides; (size, …)."""
        first, side = self.pair.sides["a"], self.pair.sides[self.which]
        random = generator(0, "audit/outputs", size)
        shape = self.pair.a.nodes[-1].shape
        z = (2 * random.standard_normal((size, *shape))).astype(np.float32)
        targets = targets_as(random_targets(first, random, size), side.targets, first)
        if targets.size == size * int(np.prod(self.like.shape[1:])):
            targets = targets.reshape(size, *self.like.shape[1:])
        final = self.pair.final[self.which]
        if final:
            z = np.asarray(activate(final, None, z.astype(np.float64)), np.float32)
        return z, targets

    def loss(self, size: int) -> float:
        """What the side's loss is for them."""
        return self.pair.sides[self.which].loss(*self.of_size(size))


def _formula(outputs: _Outputs, close: float) -> tuple[Formula | None, list[float]]:
    """The first formula that gives the side's values, and the values.

    Args:
        outputs: what the values are for.
        close: how far from its formula a loss may be, relatively.
    """
    side = outputs.pair.sides[outputs.which]
    fitting, values = candidates(side.targets), []
    for size in SIZES:
        z, targets = outputs.of_size(size)
        value = side.loss(z, targets)
        values.append(value)
        expectations = losses.values(fitting, z, targets)
        near = close * max(1e-3, abs(value))
        fitting = [
            formula
            for formula, expected in zip(fitting, expectations, strict=True)
            if expected is not None and abs(expected - value) <= near
        ]
    return (dict(fitting[0]) if fitting else None), values


def _penalties(outputs: _Outputs, weights: Arrays) -> dict[str, dict[str, float]]:
    """The factors of squared and absolute parameters in the loss, measured one by one."""
    side = outputs.pair.sides[outputs.which]
    random = np.random.default_rng(2)
    whole = {
        name: random.normal(0, 1, value.shape).astype(np.float32) for name, value in weights.items()
    }
    zeros = _zeros(weights)
    bare = outputs.loss(SIZES[0])

    def extra(parameters: Arrays) -> float:
        side.load(zeros | parameters)
        return outputs.loss(SIZES[0]) - bare

    factors: dict[str, dict[str, float]] = {"squares": {}, "absolutes": {}}
    if abs(extra(whole)) > 1e-5 * max(1.0, abs(bare)):
        for name, value in whole.items():
            once = extra({name: value})
            if abs(once) <= 1e-6 * max(1.0, abs(bare)):
                continue
            power = np.log2(abs(extra({name: 2 * value}) / once))
            if power > 1.5:
                squares = float(np.sum(np.square(value, dtype=np.float64)))
                factors["squares"][name] = once / squares
            else:
                factors["absolutes"][name] = once / float(np.sum(np.abs(value), dtype=np.float64))
    side.load(zeros)
    return factors


def _compare(a: Formula, b: Formula, effect: str, report: Reporter) -> None:
    takes = [_taken(formula) for formula in (a, b)]
    if a["kind"] != b["kind"]:
        kinds = [formula["kind"].replace("_", " ") for formula in (a, b)]
        report("loss", a=kinds[0], b=kinds[1], effect=effect)
    elif takes[0] != takes[1]:
        words = [WORDS.get(taken) or taken for taken in takes]
        report("logits-or-probabilities", a=words[0], b=words[1], effect=effect)
    broadcast = [formula["reduction"] == "broadcast" for formula in (a, b)]
    if broadcast[0] != broadcast[1]:
        words = [
            "each output against every target" if wrong else "each output against its own target"
            for wrong in broadcast
        ]
        report("loss-broadcast", a=words[0], b=words[1], effect=effect)
    elif a["reduction"] != b["reduction"]:
        words = [REDUCTIONS.get(f["reduction"], str(f["reduction"])) for f in (a, b)]
        report("loss-reduction", a=words[0], b=words[1], effect=effect)
    smoothing = [formula.get("smoothing", 0.0) for formula in (a, b)]
    if smoothing[0] != smoothing[1]:
        report("label-smoothing", a=f"smoothing {smoothing[0]:g}", b=f"smoothing {smoothing[1]:g}")


def _taken(formula: Formula) -> str:
    takes: str = formula["takes"]
    return TAKES.get((formula["final"], takes), takes)


def _effect(pair: Pair, examples: Examples) -> str:
    """The loss of each side on the same outputs."""
    values = [_Outputs(pair, which, examples.raw_y[which]).loss(SIZES[0]) for which in SIDES]
    return f"on the same outputs the losses are {values[0]:.6g} and {values[1]:.6g}"


def _compare_penalties(
    pair: Pair, weights: Weights, a: Formula, b: Formula, report: Reporter
) -> None:
    for form, words in (("squares", "the sum of squares"), ("absolutes", "the sum of absolutes")):
        of_a, of_b = a["penalties"][form], b["penalties"][form]
        for match in pair.matches:
            for role, name, partner in match.parameters():
                factors = of_a.get(name, 0.0), of_b.get(partner, 0.0)
                difference = abs(factors[0] - factors[1])
                if difference <= 0.01 * max(factors):
                    continue
                squares = float(np.sum(np.square(weights["a"][name], dtype=np.float64)))
                penalties = [
                    f"{factor:.3g} times {words} of the {role}" if factor else "no penalty"
                    for factor in factors
                ]
                effect = f"{difference * squares:.3g} of the loss at the present weights"
                report(
                    "regularisation",
                    at=match,
                    a=penalties[0],
                    b=penalties[1],
                    effect=effect if form == "squares" else "",
                )


def _compare_values(
    stage: Stage,
    values: dict[Which, list[float]],
    formulas: Formulas,
    close: float,
    report: Reporter,
) -> None:
    """Compares the values of losses of which one has no formula here."""
    for a, b in zip(values["a"], values["b"], strict=True):
        bound = close * max(1e-3, abs(a))
        stage.saw(abs(a - b), bound)
        both_broken = not np.isfinite(a) and not np.isfinite(b)
        if not abs(a - b) <= bound and not both_broken:
            report(
                "loss" if any(formulas.values()) else "unexplained",
                a=_described(formulas["a"]),
                b=_described(formulas["b"]),
                effect=f"on the same outputs the losses are {a:.6g} and {b:.6g}",
            )
            return


def _described(formula: Formula | None) -> str:
    if formula is None:
        return "a loss of its own"
    takes = _taken(formula)
    return f"{formula['kind'].replace('_', ' ')} that {WORDS.get(takes, takes)}"
