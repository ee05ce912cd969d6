"""Mode: the measured behaviour of dropout and batch normalisation in training."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing import reference
from diptych.auditing.black_boxes import Comparison
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Arrays, Node
from diptych.auditing.kinds.registry import kind_of
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import recorded
from diptych.auditing.weights import Weights

NAME = "mode"
SIGMAS = 6.0
"""The number of standard deviations by which a measured share may differ from its rate."""
Records = dict[Which, Arrays]


@dataclass(frozen=True)
class Mode:
    """The behaviour of both sides in training."""

    stage: Stage
    pair: Pair
    """The pair, with the statistics that its batch normalisations were found to use."""


def check(pair: Pair, examples: Examples, weights: Weights, unit: float, report: Reporter) -> Mode:
    """Runs both sides in training mode, and compares dropout, normalisation and moving averages."""
    stage = Stage(NAME)
    nodes = [*pair.a.nodes, *pair.b.nodes]
    if all(kind_of(node).in_training == "same" for node in nodes):
        stage.note = "no dropout, no batch normalisation"
        if not report.has(NAME):
            stage.coverage.compared(len(pair.matches), layers="by their kinds")
            return Mode(stage, pair)
    records = recorded(pair.sides, examples.x, True)
    comparison = Comparison(pair, unit, _in_inference(pair, examples), True, report)
    normalised: list[tuple[Node, Node]] = []
    for match in pair.matches:
        if match.a is None or match.b is None:
            continue
        stage.coverage.compared()
        if "custom" in (match.a.kind, match.b.kind):
            comparison.compare(match, stage)
            continue
        if match.a.kind != match.b.kind:
            continue
        in_training = kind_of(match.a).in_training
        if match.a.kind == "dropout":
            _dropout(match, records, report)
        if in_training == "statistics":
            normalised.append((match.a, match.b))
            uses = _batch_norm(match, weights, unit, records, report)
            for which, use in uses.items():
                if use == "moving":
                    # The reference must do as the side does from here on.
                    name = _node(match, which).name
                    pair = pair.with_attributes(which, name, statistics="moving")
    _unbiased_variances(pair, normalised, examples, weights, records, report)
    stage.ok = not report.has(NAME)
    return Mode(stage, pair)


def _in_inference(pair: Pair, examples: Examples) -> dict[Which, Arrays]:
    """The inputs of each layer in inference; empty if no layer is a black box."""
    if all(node.kind != "custom" for graph in (pair.a, pair.b) for node in graph.nodes):
        return {which: {} for which in SIDES}
    return recorded(pair.sides, examples.x, False)


def _dropout(match: Match, records: Records, report: Reporter) -> None:
    """Compares the dropped share and the factor of the other values."""
    of_a, of_b = (_dropped(records[which], _node(match, which)) for which in SIDES)
    if of_a is None or of_b is None:
        return
    (share_a, factor_a, count_a), (share_b, factor_b, count_b) = of_a, of_b
    noise = SIGMAS * np.sqrt(0.25 / max(1, count_a) + 0.25 / max(1, count_b))
    a, b = _dropping(share_a, factor_a), _dropping(share_b, factor_b)
    if (share_a == 0) != (share_b == 0) and abs(share_a - share_b) > noise:
        effect = "dropout is active on one side only"
        report("training-mode", at=match, a=a, b=b, effect=effect)
        return
    different = abs(share_a - share_b) > noise or abs(factor_a - factor_b) > 0.01 * factor_a
    if different and not report.has_at(match, "dropout-rate"):
        report("dropout-rate", at=match, a=a, b=b)


def _node(match: Match, which: Which) -> Node:
    node = match.a if which == "a" else match.b
    assert node
    return node


def _dropped(record: Arrays, node: Node) -> tuple[float, float, int] | None:
    """The share of values that became zero, the factor of the others, and the number of values."""
    if node.name not in record or node.inputs[0] not in record:
        return None
    x, y = record[node.inputs[0]], record[node.name]
    there = np.abs(x) > 1e-6
    if not np.any(there):
        return None
    kept = there & (y != 0)
    factor = float(np.median(y[kept] / x[kept])) if np.any(kept) else 1.0
    return float(np.mean(y[there] == 0)), factor, int(there.sum())


def _dropping(share: float, factor: float) -> str:
    if share == 0:
        return "drops nothing in training"
    return f"drops {share:.1%} in training, the rest multiplied by {factor:.4g}"


USES = {
    "batch": "normalises by the batch statistics in training",
    "moving": "normalises by the moving averages in training",
    "neither": "normalises by neither the batch statistics nor the moving averages",
}


def _batch_norm(
    match: Match, weights: Weights, unit: float, records: Records, report: Reporter
) -> dict[Which, str | None]:
    """Compares the statistics that two layers normalise with in training, and the momentum of their
    averages.

    Returns:
        By side, one of `USES`; None if its record does not show it.
    """
    nodes = {which: _node(match, which) for which in SIDES}
    uses = {
        which: _statistics(nodes[which], weights[which], unit, records[which]) for which in SIDES
    }
    a, b = uses["a"], uses["b"]
    if a != b and a and b:
        report("training-mode", at=match, a=USES[a], b=USES[b])
        return uses
    one, other = (_momentum(nodes[which], weights[which], records[which]) for which in SIDES)
    if one is None or other is None:
        return uses
    if abs(one - other) > 2e-3 * max(1 - one, 1 - other, 1e-3) + 1e-5:
        report(
            "batchnorm-momentum",
            at=match,
            a=f"keeps {one:.5g} of its moving averages",
            b=f"keeps {other:.5g} of them",
            effect="recovered from the averages after one step; affects predictions, not losses",
        )
    return uses


def _unbiased_variances(
    pair: Pair,
    normalised: list[tuple[Node, Node]],
    examples: Examples,
    weights: Weights,
    records: Records,
    report: Reporter,
) -> None:
    """Notes if only one side's moving variances use n/(n-1) times the variance of the batch."""
    if not normalised:
        return
    nodes = dict(zip(SIDES, zip(*normalised, strict=True), strict=True))
    from_zero = {
        which: _from_zero(pair, which, nodes[which], examples, weights[which]) for which in SIDES
    }
    for matched in normalised:
        a, b = (
            _is_unbiased(node, weights[which], records[which], from_zero[which])
            for which, node in zip(SIDES, matched, strict=True)
        )
        if None not in (a, b) and a != b:
            report.note(
                f"{'A' if a else 'B'}'s moving variances are unbiased, n/(n-1) times the other's; "
                "this is the frameworks' convention and does not count"
            )
            return


def _statistics(node: Node, weights: Arrays, unit: float, record: Arrays) -> str | None:
    """The statistics that the layer normalised by: those of the batch, or the moving averages."""
    if node.name not in record or node.inputs[0] not in record:
        return None
    (batch,) = reference.ratios([node], weights, record, True)
    (moving,) = reference.ratios([node], weights, record, False)
    if min(batch, moving) > 4 * unit:
        return "neither"
    return "batch" if batch <= moving else "moving"


def _momentum(node: Node, weights: Arrays, record: Arrays) -> float | None:
    """The share of the moving averages that a step keeps, from their means."""
    name = node.parameters.get("mean", "")
    new = record.get(f"parameter:{name}")
    if new is None or node.inputs[0] not in record:
        return None
    x = record[node.inputs[0]].astype(np.float64)
    return _kept(weights[name], new, x.mean(tuple(range(x.ndim - 1))))


def _from_zero(
    pair: Pair, which: Which, nodes: tuple[Node, ...], examples: Examples, weights: Arrays
) -> Arrays:
    """A side's record in training after its moving variances were set to zero."""
    side = pair.sides[which]
    names = {node.parameters["variance"] for node in nodes if "variance" in node.parameters}
    side.load(weights | {name: np.zeros_like(weights[name]) for name in names})
    try:
        return side.record(examples.x[which], True) | {INPUT: examples.x[which]}
    finally:
        side.load(weights)


def _is_unbiased(node: Node, weights: Arrays, record: Arrays, from_zero: Arrays) -> bool | None:
    """True if the moving variance takes in n/(n-1) times the batch's; None if that isn't seen.

    The two are a few parts in 100,000 apart, no more than one step's rounding if the moving
    variance is much larger than the batch's. Two steps show the two shares one by one: from zero,
    what is taken in of the batch's; from the present ones, what is kept.
    """
    name = node.parameters.get("variance", "")
    new, taken_in = record.get(f"parameter:{name}"), from_zero.get(f"parameter:{name}")
    if new is None or taken_in is None or not {node.inputs[0]} <= record.keys() & from_zero.keys():
        return None
    inputs = [r[node.inputs[0]].astype(np.float64) for r in (record, from_zero)]
    axes = tuple(range(inputs[0].ndim - 1))
    batch, batch_from_zero = (x.var(axes) for x in inputs)
    old = weights[name].astype(np.float64)
    share = _along(taken_in, batch_from_zero)
    kept = _along(new - share * batch, old)
    count = inputs[0][..., 0].size
    if share < 1e-6 or kept > 1 - 1e-6 or count < 2:
        return None  # The averages do not move.
    return share / (1 - kept) > (1 + count / (count - 1)) / 2


def _along(values: np.ndarray, direction: np.ndarray) -> float:
    """The factor of the direction that fits the values best."""
    total = float(np.sum(direction**2))
    return float(np.sum(values * direction)) / total if total else 0.0


def _kept(old: np.ndarray, new: np.ndarray, batch: np.ndarray) -> float:
    """The share in new = share * old + (1 - share) * batch, by least squares."""
    along = old.astype(np.float64) - batch
    return _along(new - batch, along) if np.any(along) else 1.0
