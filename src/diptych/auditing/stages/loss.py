"""Loss: its values on outputs of the audit's choice, and the formula that they are told from.

The values decide, on the float64 twins if there are any: for every class, for small and large
outputs, for several batch sizes, and on large weights for penalties. The formulas give a difference
its name.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.kinds.activation import activate
from diptych.auditing.losses import Formula
from diptych.auditing.naming.losses import SIZES, Outputs, recovered, written
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes import targets as probes
from diptych.auditing.probes.paths import Penalties, alike
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Unable
from diptych.auditing.twins import CONSTANTS, Twins
from diptych.auditing.weights import Weights

NAME = "loss"
CLOSE = 2e-5
"""How far a loss of a few examples may be from its formula, relatively."""

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
    "weighted_mean": "sum over the batch, divided by the sum of its examples' weights",
}


Formulas = dict[Which, Formula | None]
"""By side; None where no formula known here gives the side's values."""


@dataclass(frozen=True)
class Losses:
    """Both sides' losses."""

    stage: Stage
    formulas: Formulas
    decay: Penalties
    """The penalties on squares that are in one side's loss and in the other's steps."""
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
        outputs = Outputs(pair, which, examples.raw_y[which])
        pair.sides[which].load(_zeros(twins.weights[which]))
        formula, values[which] = recovered(outputs, close)
        if formula is not None:
            formula["final"] = pair.final[which]
            formula["penalties"] = _penalties(outputs, twins.weights[which])
        formulas[which] = formula
        pair.sides[which].load(twins.weights[which])
    a, b = formulas["a"], formulas["b"]
    decay: Penalties = {}
    words = {which: str(getattr(pair.sides[which], "loss_words", "")) for which in SIDES}
    if a is None or b is None:
        _compare_values(stage, values, formulas, close, words, report)
    else:
        _compare(a, b, _effect(pair, examples), report)
        decay = _decay(twins, a, b)
        if decay:
            report.note(
                "one side's penalty on squares is the other's weight decay: the steps are the same"
            )
        else:
            _compare_penalties(pair, twins.weights, a, b, report)
    named = report.has(NAME)
    decay = decay or {which: {} for which in SIDES}
    clips = bool(a and b and a["takes"] != b["takes"] and _taken(a) == _taken(b))
    effect = _different(twins, decay, clips, close, stage)
    if effect and not named:
        of_a, of_b = _described(a, words["a"]), _described(b, words["b"])
        report("loss", a=of_a, b=of_b, effect=effect)
    stage.ok = not report.has(NAME)
    if a and stage.ok:
        reduction = REDUCTIONS.get(a["reduction"], a["reduction"])
        stage.note = f"{a['kind'].replace('_', ' ')}, {reduction}"
    return Losses(stage, formulas, decay, clips)


def _decay(twins: Twins, a: Formula, b: Formula) -> Penalties:
    """The penalties of both sides where they differ and the steps are the same all the same, since
    the other optimiser's decay is as large; else nothing."""
    squares = {"a": a["penalties"]["squares"], "b": b["penalties"]["squares"]}
    names = twins.pair.transfer.names
    of_a = {names[name]: factor for name, factor in squares["a"].items() if name in names}
    both = {
        name: (of_a.get(name, 0.0), squares["b"].get(name, 0.0)) for name in of_a | squares["b"]
    }
    if not twins.pair.whole or all(np.isclose(*factors, rtol=0.01) for factors in both.values()):
        return {}
    exact = {
        which: {name: written(factor) for name, factor in factors.items()}
        for which, factors in squares.items()
    }
    try:
        return exact if alike(twins, exact) else {}
    except (Failed, Unable):
        return {}


def _different(twins: Twins, decay: Penalties, clips: bool, close: float, stage: Stage) -> str:
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
                if not np.isfinite([a, b]).any():
                    stage.coverage.leave_out(batch.name, "neither loss is a number there")
                    continue
                if weights == "random":
                    a, b = (
                        loss - penalty(decay[which], _random(twins, which))
                        for which, loss in zip(SIDES, (a, b), strict=True)
                    )
                stage.coverage.compared(1, **_extents(twins, batch, weights))
                bound = relative * max(1e-3, *(abs(v) for v in (a, b) if np.isfinite(v)), 1e-3)
                away = abs(a - b) if np.isfinite([a, b]).all() else float("inf")
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
    for which, side in twins.answers.items():
        side.load(_random(twins, which))


def _random(twins: Twins, which: Which) -> Arrays:
    """Numbers on which each penalty has a large value, by a side's names."""
    random = np.random.default_rng(2)
    of_a = {
        name: np.abs(random.standard_normal(value.shape)).astype(value.dtype)
        for name, value in twins.start().items()
        if value.dtype.kind == "f"
    }
    return of_a if which == "a" else twins.pair.transfer.to_b(of_a)


def penalty(factors: dict[str, float], parameters: Arrays) -> float:
    """The penalties on squares in a loss."""
    return sum(
        factor * float(np.sum(np.square(parameters[name], dtype=np.float64)))
        for name, factor in factors.items()
    )


def _losses(twins: Twins, batch: probes.Batch) -> tuple[float, float]:
    """The loss of each side."""

    def ask(side: Answers, which: Which) -> float:
        final = twins.pair.final[which]
        z = np.asarray(activate(final, None, batch.logits)) if final else batch.logits
        return side.loss(twins.typed(z), batch.targets[which])

    answers = twins.ask(ask)
    return answers["a"], answers["b"]


def _zeros(weights: Arrays) -> Arrays:
    """Weights on which no penalty has a value."""
    return {name: np.zeros_like(value) for name, value in weights.items()}


def _penalties(outputs: Outputs, weights: Arrays) -> dict[str, dict[str, float]]:
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
    if not np.isclose(*smoothing, rtol=1e-3, atol=1e-9):
        report("label-smoothing", a=f"smoothing {smoothing[0]:g}", b=f"smoothing {smoothing[1]:g}")
    _compare_numbers(a, b, effect, report)


def _compare_numbers(a: Formula, b: Formula, effect: str, report: Reporter) -> None:
    """Compares the weights of the classes and the thresholds of robust losses."""
    weights = [np.asarray(formula.get("weights", [1.0])) for formula in (a, b)]
    if a["reduction"] != b["reduction"]:  # Divided by their sum, weights have no scale.
        weights = [weight / weight[0] for weight in weights]
    if not np.allclose(*np.broadcast_arrays(*weights), rtol=1e-3):
        words = [
            f"classes weighted {_listed(weight)}" if "weights" in formula else "classes weigh alike"
            for weight, formula in zip(weights, (a, b), strict=True)
        ]
        report("loss", a=words[0], b=words[1], effect=effect)
    deltas = [(formula.get("delta", 1.0), formula.get("smooth", False)) for formula in (a, b)]
    if a["kind"] == b["kind"] == "huber" and deltas[0] != deltas[1]:
        words = [
            f"Huber's loss with a threshold of {delta:g}" + (", divided by it" if smooth else "")
            for delta, smooth in deltas
        ]
        report("loss", a=words[0], b=words[1], effect=effect)


def _listed(weights: np.ndarray) -> str:
    text = ", ".join(f"{weight:.4g}" for weight in weights[:6])
    return f"{text}, …" if len(weights) > 6 else text


def _taken(formula: Formula) -> str:
    takes: str = formula["takes"]
    return TAKES.get((formula["final"], takes), takes)


def _effect(pair: Pair, examples: Examples) -> str:
    """The loss of each side on the same outputs."""
    values = [Outputs(pair, which, examples.raw_y[which]).loss(SIZES[0]) for which in SIDES]
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
    words: dict[Which, str],
    report: Reporter,
) -> None:
    """Compares the values of losses of which one has no formula here."""
    for a, b in zip(values["a"], values["b"], strict=True):
        bound = close * max(1e-3, abs(a))
        stage.saw(abs(a - b), bound)
        both_broken = not np.isfinite(a) and not np.isfinite(b)
        if not abs(a - b) <= bound and not both_broken:
            report(
                "loss",
                a=_described(formulas["a"], words["a"]),
                b=_described(formulas["b"], words["b"]),
                effect=f"on the same outputs the losses are {a:.6g} and {b:.6g}",
            )
            return


def _described(formula: Formula | None, words: str) -> str:
    """A loss in words: by its formula, and by what its side says of it."""
    if formula is None:
        return words or "a loss of its own"
    takes = _taken(formula)
    told = WORDS.get(takes, takes)
    text = formula["kind"].replace("_", " ") + ("" if takes == "values" else f" that {told}")
    return f"{text} ({words})" if words else text
