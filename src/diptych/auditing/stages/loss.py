"""Loss: its values on outputs of the audit's choice, and the formula that they are told from.

The values decide, on the float64 twins where there are any: for every class, for small and large
outputs, for several batch sizes, and on large weights for penalties. The formulas give a difference
its name.
"""

from itertools import islice, product
from typing import Any

import numpy as np

from diptych.auditing import losses
from diptych.auditing.graph import Arrays
from diptych.auditing.kinds.registry import role_of
from diptych.auditing.pair import SIDES, Pair, Which, made_up_targets, targets_as
from diptych.auditing.probes import targets as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Answers, Failed, Side, Unable
from diptych.auditing.twins import CONSTANTS, Twins
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


def check(pair: Pair, twins: Twins) -> Stage:
    """Recovers both formulas with their penalties and compares them, then compares the values."""
    stage = Stage(NAME)
    before = len(pair.audit.findings)
    values: dict[Which, list[float]] = {}
    for which in SIDES:
        pair.sides[which].load(_zeros(pair, which))
        formula, values[which] = _formula(pair, which)
        if formula is not None:
            formula["final"] = pair.final[which]
            formula["penalties"] = _penalties(pair, which)
        pair.formulas[which] = formula
        pair.sides[which].load(pair.parameters[which])
    a, b = pair.formulas["a"], pair.formulas["b"]
    if a is None or b is None:
        _compare_values(pair, stage, values)
    else:
        _compare(pair, a, b)
    named = len(pair.audit.findings) > before
    different = _on_twins(twins, stage)
    if different and not named:
        kinds = [_described(pair, which) for which in SIDES]
        pair.found(NAME, "loss", None, *kinds, different)
    stage.ok = len(pair.audit.findings) == before and not different
    if a and stage.ok:
        stage.note = (
            f"{a['kind'].replace('_', ' ')}, {REDUCTIONS.get(a['reduction'], a['reduction'])}"
        )
    return stage


def clips_differently(pair: Pair) -> bool:
    """Whether one loss takes probabilities, which it may cut off near 0 and 1, and the other takes
    what they are made of."""
    a, b = pair.formulas["a"], pair.formulas["b"]
    return bool(a and b and a["takes"] != b["takes"] and _taken(a) == _taken(b))


def _on_twins(twins: Twins, stage: Stage) -> str:
    """The effect of the largest difference of values that rounding does not explain, or nothing."""
    pair, worst, effect = twins.pair, 1.0, ""
    saturated = not clips_differently(pair)
    if not saturated:
        stage.coverage.leave_out(
            "outputs of deviation 30", "one loss takes probabilities and may cut them off near 0"
        )
    with twins.used(stage.coverage):
        for weights in ("no", "random") if pair.whole() else ("no",):
            _load(twins, weights)
            batches = probes.batches(pair, saturated)
            for batch in batches if weights == "no" else islice(batches, 1):
                try:
                    value = _values(twins, batch)
                except (Failed, Unable) as problem:
                    stage.coverage.leave_out(batch.name, str(problem))
                    continue
                stage.coverage.compared(1, **_extents(pair, batch, weights))
                bound = _bound(twins) * max(1e-3, *(abs(v) for v in value if np.isfinite(v)), 1e-3)
                away = 0.0 if not np.isfinite(value).any() else abs(value[0] - value[1])
                away = away if np.isfinite(away) else float("inf")
                stage.saw(away, bound)
                if away > worst * bound:
                    worst = away / bound
                    effect = (
                        f"on the same outputs the losses are {value[0]:.8g} and {value[1]:.8g} "
                        f"({batch.name}, {weights} weights)"
                    )
    return effect


def _extents(pair: Pair, batch: probes.Batch, weights: str) -> dict[str, object]:
    if batch.name.startswith("labels"):
        return {"labels_of": f"each of {pair.a.nodes[-1].shape[-1]} classes", "weights": weights}
    return {
        "batches_of": batch.size,
        "outputs_of_deviation": f"{batch.scale:g}",
        "weights": weights,
    }


def _bound(twins: Twins) -> float:
    """How far two losses may be apart, relatively."""
    return 4 * CONSTANTS if twins.precision.startswith("float64") else close(twins.pair)


def _load(twins: Twins, weights: str) -> None:
    """Zeros, on which no penalty has a value, or numbers on which each has a large one."""
    if weights == "no":
        for which, side in twins.answers.items():
            zeros = _zeros(twins.pair, which)
            side.load({name: twins.typed(value) for name, value in zeros.items()})
        return
    chance = np.random.default_rng(2)
    drawn: Arrays = {
        name: np.abs(chance.standard_normal(value.shape)).astype(value.dtype)
        for name, value in twins.start().items()
        if value.dtype.kind == "f"
    }
    twins.load(drawn)


def _values(twins: Twins, batch: probes.Batch) -> list[float]:
    """The loss of each side."""

    def ask(side: Answers, which: Which) -> float:
        outputs = twins.typed(_final(twins.pair.final[which], batch.logits, np.float64))
        return side.loss(outputs, batch.targets[which])

    return list(twins.ask(ask).values())


def candidates(targets: str) -> list[dict[str, Any]]:
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
    found = [
        {"kind": kind, "takes": takes, "reduction": reduction}
        for (kind, takes), reduction in product(kinds, reductions)
    ]
    if targets in ("classes", "one_hot"):
        found += [
            {"kind": "cross_entropy", "takes": "logits", "reduction": "mean", "smoothing": share}
            for share in (0.05, 0.1, 0.2)
        ]
    return found


def _zeros(pair: Pair, which: Which) -> dict[str, np.ndarray]:
    """Weights on which no penalty has a value."""
    return {name: np.zeros_like(value) for name, value in pair.parameters[which].items()}


def _outputs(pair: Pair, which: Which, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs before the final activation and targets, the same for both sides; (n, …)."""
    first, side = pair.sides["a"], pair.sides[which]
    chance = generator(0, "audit/outputs", size)
    shape = pair.a.nodes[-1].shape
    z = (2 * chance.standard_normal((size, *shape))).astype(np.float32)
    targets = made_up_targets(first, chance, size)
    own = targets_as(targets, side.targets, first)
    like = pair.raw_y[which]  # As the side prepares them: (n,) is not (n, 1).
    if own.size == size * int(np.prod(like.shape[1:])):
        own = own.reshape(size, *like.shape[1:])
    return z, own


def close(pair: Pair) -> float:
    """How far from its formula a loss may be, relatively, in the coarser side's arithmetic."""
    return min(0.02, CLOSE * pair.unit)


def _formula(pair: Pair, which: Which) -> tuple[dict[str, Any] | None, list[float]]:
    """The first formula that gives the side's values, and the values."""
    side = pair.sides[which]
    fitting, values = candidates(side.targets), []
    for size in SIZES:
        z, targets = _outputs(pair, which, size)
        outputs = _final(pair.final[which], z)
        value = side.loss(outputs, targets)
        values.append(value)
        expectations = losses.values(fitting, outputs, targets)
        near = close(pair) * max(1e-3, abs(value))
        fitting = [
            formula
            for formula, expected in zip(fitting, expectations, strict=True)
            if expected is not None and abs(expected - value) <= near
        ]
    return (dict(fitting[0]) if fitting else None), values


def _final(activation: str | None, z: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """The final activation's outputs."""
    from scipy import special

    functions = {
        "softmax": lambda v: special.softmax(v, axis=-1),
        "log_softmax": lambda v: special.log_softmax(v, axis=-1),
        "sigmoid": special.expit,
    }
    z = z.astype(np.float64)
    return (functions[activation](z) if activation else z).astype(dtype)


def _penalties(pair: Pair, which: Which) -> dict[str, dict[str, float]]:
    """The factors of squared and absolute parameters in the loss, measured one by one."""
    side = pair.sides[which]
    z, targets = _outputs(pair, which, SIZES[0])
    outputs = _final(pair.final[which], z)
    chance = np.random.default_rng(2)
    whole = {
        name: chance.normal(0, 1, value.shape).astype(np.float32)
        for name, value in pair.parameters[which].items()
    }
    zeros = _zeros(pair, which)
    bare = side.loss(outputs, targets)

    def extra(parameters: dict[str, np.ndarray]) -> float:
        side.load(zeros | parameters)
        return side.loss(outputs, targets) - bare

    found: dict[str, dict[str, float]] = {"squares": {}, "absolutes": {}}
    if abs(extra(whole)) > 1e-5 * max(1.0, abs(bare)):
        for name, value in whole.items():
            once = extra({name: value})
            if abs(once) <= 1e-6 * max(1.0, abs(bare)):
                continue
            power = np.log2(abs(extra({name: 2 * value}) / once))
            if power > 1.5:
                found["squares"][name] = once / float(np.sum(np.square(value, dtype=np.float64)))
            else:
                found["absolutes"][name] = once / float(np.sum(np.abs(value), dtype=np.float64))
    side.load(zeros)
    return found


def _compare(pair: Pair, a: dict[str, Any], b: dict[str, Any]) -> None:
    takes = [_taken(f) for f in (a, b)]
    if a["kind"] != b["kind"]:
        said = [f["kind"].replace("_", " ") for f in (a, b)]
        pair.found(NAME, "loss", None, *said, _effect(pair))
    elif takes[0] != takes[1]:
        said = [WORDS.get(each) or each for each in takes]
        pair.found(NAME, "logits-or-probabilities", None, *said, _effect(pair))
    broadcast = [f["reduction"] == "broadcast" for f in (a, b)]
    if broadcast[0] != broadcast[1]:
        said = [
            "each output against every target" if wrong else "each output against its own target"
            for wrong in broadcast
        ]
        pair.found(NAME, "loss-broadcast", None, *said, _effect(pair))
    elif a["reduction"] != b["reduction"]:
        said = [REDUCTIONS.get(str(f["reduction"]), str(f["reduction"])) for f in (a, b)]
        pair.found(NAME, "loss-reduction", None, *said, _effect(pair))
    smoothing = [f.get("smoothing", 0.0) for f in (a, b)]
    if smoothing[0] != smoothing[1]:
        pair.found(NAME, "label-smoothing", None, *(f"smoothing {s:g}" for s in smoothing))
    _compare_penalties(pair, a, b)


def _taken(formula: dict[str, Any]) -> str:
    takes: str = formula["takes"]
    return TAKES.get((formula["final"], takes), takes)


def _effect(pair: Pair) -> str:
    """The loss of each side on the same outputs."""
    values = []
    for which in SIDES:
        z, targets = _outputs(pair, which, SIZES[0])
        values.append(pair.sides[which].loss(_final(pair.final[which], z), targets))
    return f"on the same outputs the losses are {values[0]:.6g} and {values[1]:.6g}"


def _compare_penalties(pair: Pair, a: dict[str, Any], b: dict[str, Any]) -> None:
    for form, words in (("squares", "the sum of squares"), ("absolutes", "the sum of absolutes")):
        of_a, of_b = a["penalties"][form], b["penalties"][form]
        for match in pair.matches:
            if not (match.a and match.b):
                continue
            for role, name, partner in match.parameters():
                one, other = of_a.get(name, 0.0), of_b.get(partner, 0.0)
                if abs(one - other) <= 0.01 * max(one, other):
                    continue
                weight = float(np.sum(np.square(pair.parameters["a"][name], dtype=np.float64)))
                said = [
                    f"{f:.3g} times {words} of the {role}" if f else "no penalty"
                    for f in (one, other)
                ]
                pair.found(
                    NAME, "regularisation", pair.place(match), *said,
                    f"{abs(one - other) * weight:.3g} of the loss at the present weights"
                    if form == "squares" else "",
                )  # fmt: skip


def _compare_values(pair: Pair, stage: Stage, values: dict[Which, list[float]]) -> None:
    """Where a loss has no formula here, its values are all there is."""
    for a, b in zip(values["a"], values["b"], strict=True):
        bound = close(pair) * max(1e-3, abs(a))
        stage.saw(abs(a - b), bound)
        both_broken = not np.isfinite(a) and not np.isfinite(b)
        if not abs(a - b) <= bound and not both_broken:
            kinds = [_described(pair, which) for which in SIDES]
            code = "loss" if any(pair.formulas.values()) else "unexplained"
            effect = f"on the same outputs the losses are {a:.6g} and {b:.6g}"
            pair.found(NAME, code, None, *kinds, effect)
            return


def _described(pair: Pair, which: Which) -> str:
    formula = pair.formulas[which]
    if formula is None:
        return "a loss of its own"
    takes = _taken(formula)
    return f"{formula['kind'].replace('_', ' ')} that {WORDS.get(takes, takes)}"


def trained(side: Side) -> list[str]:
    """The names of the parameters that are weights, not moving averages."""
    averages = {
        name
        for node in side.graph.nodes
        for role, name in node.parameters.items()
        if role_of(node, role).average
    }
    return [name for name in side.own if name not in averages]
