"""Mode: what dropout and batch normalisation do in training, measured."""

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import INPUT, Arrays, Node
from diptych.auditing.kinds.registry import kind_of
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.stages.forward import black_box

NAME = "mode"
SIGMAS = 6.0
"""Deviations by which a measured share may differ from its rate."""


def check(pair: Pair) -> Stage:
    """Runs both sides as they train, and looks at what was dropped, normalised and averaged."""
    stage = Stage(NAME)
    nodes = [*pair.a.nodes, *pair.b.nodes]
    if all(kind_of(node).in_training == "same" for node in nodes):
        stage.note = "no dropout, no batch normalisation"
        if not any(f.stage == NAME for f in pair.audit.findings):
            stage.coverage.compared(len(pair.matches), layers="by their kinds")
            return stage
    records = {
        which: side.record(pair.x[which], True) | {INPUT: pair.x[which]}
        for which, side in pair.sides.items()
    }
    for match in pair.matches:
        if match.a is None or match.b is None:
            continue
        stage.coverage.compared()
        if "custom" in (match.a.kind, match.b.kind):
            black_box(pair, match, records, stage, training=True)
            continue
        if match.a.kind != match.b.kind:
            continue
        in_training = kind_of(match.a).in_training
        if in_training == "draws":
            _dropout(pair, match, records)
        if in_training == "statistics":
            _batch_norm(pair, match, records)
    _unbiased_variances(pair, records)
    stage.ok = not any(finding.stage == NAME for finding in pair.audit.findings)
    return stage


def _dropout(pair: Pair, match: Match, records: dict[Which, Arrays]) -> None:
    """The share that was dropped and the factor of what was kept, on each side."""
    seen = {which: _dropped(records[which], _node(match, which)) for which in SIDES}
    if seen["a"] is None or seen["b"] is None:
        return
    (share_a, factor_a, count_a), (share_b, factor_b, count_b) = seen["a"], seen["b"]
    noise = SIGMAS * np.sqrt(0.25 / max(1, count_a) + 0.25 / max(1, count_b))
    said = [
        _dropping(share, factor) for share, factor in ((share_a, factor_a), (share_b, factor_b))
    ]
    if (share_a == 0) != (share_b == 0) and abs(share_a - share_b) > noise:
        pair.found(
            NAME, "training-mode", pair.place(match), *said, "dropout works on one side only"
        )
    elif abs(share_a - share_b) > noise or abs(factor_a - factor_b) > 0.01 * factor_a:
        already = any(
            f.code == "dropout-rate" and f.layer == pair.place(match) for f in pair.audit.findings
        )
        if not already:
            pair.found(NAME, "dropout-rate", pair.place(match), *said)


def _node(match: Match, which: Which) -> Node:
    node = match.a if which == "a" else match.b
    assert node
    return node


def _dropped(record: Arrays, node: Node) -> tuple[float, float, int] | None:
    """The share of numbers that became zero, the factor of the others, and how many there were."""
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
    return f"drops {share:.1%} in training, the rest times {factor:.4g}"


def _batch_norm(pair: Pair, match: Match, records: dict[Which, Arrays]) -> None:
    uses = {which: _statistics(pair, which, _node(match, which), records[which]) for which in SIDES}
    for which in SIDES:
        if uses[which] == "moving":  # The reference must do as the side does from here on.
            pair.change(which, _node(match, which).name, statistics="moving")
    said = {
        "batch": "normalises by the batch's own statistics in training",
        "moving": "normalises by the moving averages in training",
        "neither": "normalises by neither the batch's nor the moving statistics",
    }
    if uses["a"] != uses["b"] and None not in uses.values():
        words = [said[str(uses[which])] for which in SIDES]
        pair.found(NAME, "training-mode", pair.place(match), *words)
        return
    momenta = {
        which: _momentum(pair, which, _node(match, which), records[which]) for which in SIDES
    }
    one, other = momenta["a"], momenta["b"]
    if one is None or other is None:
        return
    if abs(one - other) > 2e-3 * max(1 - one, 1 - other, 1e-3) + 1e-5:
        pair.found(
            NAME, "batchnorm-momentum", pair.place(match),
            f"keeps {one:.5g} of its moving averages", f"keeps {other:.5g} of them",
            "recovered from one step's averages; predictions differ, training losses do not",
        )  # fmt: skip


def _unbiased_variances(pair: Pair, records: dict[Which, Arrays]) -> None:
    """Notes it where only one side's moving variances take in n/(n-1) times the batch's."""
    nodes = {
        which: [
            _node(m, which)
            for m in pair.matches
            if m.a and m.b and m.a.kind == m.b.kind
            if kind_of(m.a).in_training == "statistics"
        ]
        for which in SIDES
    }
    if not nodes["a"]:
        return
    from_zero = {which: _from_zero(pair, which, nodes[which]) for which in SIDES}
    for pairs in zip(nodes["a"], nodes["b"], strict=True):
        a, b = (
            _is_unbiased(pair, which, node, records[which], from_zero[which])
            for which, node in zip(SIDES, pairs, strict=True)
        )
        if None not in (a, b) and a != b:
            pair.audit.notes.append(
                f"{'A' if a else 'B'}'s moving variances are unbiased, n/(n-1) times the other's; "
                "that is the frameworks' convention and was not counted"
            )
            return


def _statistics(pair: Pair, which: Which, node: Node, record: Arrays) -> str | None:
    """Whether the layer normalised by the batch's statistics or by the moving ones."""
    if node.name not in record or node.inputs[0] not in record:
        return None
    parameters = pair.parameters[which]
    (batch,) = reference.ratios([node], parameters, record, True)
    (moving,) = reference.ratios([node], parameters, record, False)
    if min(batch, moving) > 4 * pair.unit:
        return "neither"
    return "batch" if batch <= moving else "moving"


def _momentum(pair: Pair, which: Which, node: Node, record: Arrays) -> float | None:
    """The share of the moving averages that a step keeps, by their means."""
    name = node.parameters.get("mean", "")
    new = record.get(f"parameter:{name}")
    if new is None or node.inputs[0] not in record:
        return None
    x = record[node.inputs[0]].astype(np.float64)
    return _kept(pair.parameters[which][name], new, x.mean(tuple(range(x.ndim - 1))))


def _from_zero(pair: Pair, which: Which, nodes: list[Node]) -> Arrays:
    """What a side records in training if its moving variances are zero before."""
    side, parameters = pair.sides[which], pair.parameters[which]
    names = {node.parameters["variance"] for node in nodes if "variance" in node.parameters}
    side.load(parameters | {name: np.zeros_like(parameters[name]) for name in names})
    try:
        return side.record(pair.x[which], True) | {INPUT: pair.x[which]}
    finally:
        side.load(parameters)


def _is_unbiased(
    pair: Pair, which: Which, node: Node, record: Arrays, from_zero: Arrays
) -> bool | None:
    """Whether the moving variance takes in n/(n-1) times the batch's; None where that isn't seen.

    The two are a few parts in 100,000 apart, no more than one step's rounding where the moving
    variance is much larger than the batch's. Two steps show the two shares one by one: from zero,
    what is taken in of the batch's; from the present ones, what is kept.
    """
    name = node.parameters.get("variance", "")
    new, taken_in = record.get(f"parameter:{name}"), from_zero.get(f"parameter:{name}")
    if new is None or taken_in is None or not {node.inputs[0]} <= record.keys() & from_zero.keys():
        return None
    inputs = [each[node.inputs[0]].astype(np.float64) for each in (record, from_zero)]
    axes = tuple(range(inputs[0].ndim - 1))
    batch, batch_from_zero = (x.var(axes) for x in inputs)
    old = pair.parameters[which][name].astype(np.float64)
    share = _along(taken_in, batch_from_zero)
    kept = _along(new - share * batch, old)
    count = inputs[0][..., 0].size
    if share < 1e-6 or kept > 1 - 1e-6 or count < 2:
        return None  # The averages do not move.
    return share / (1 - kept) > (1 + count / (count - 1)) / 2


def _along(values: np.ndarray, direction: np.ndarray) -> float:
    """The factor by which the direction comes nearest to the values."""
    total = float(np.sum(direction**2))
    return float(np.sum(values * direction)) / total if total else 0.0


def _kept(old: np.ndarray, new: np.ndarray, batch: np.ndarray) -> float:
    """The share in new = share * old + (1 - share) * batch, by least squares."""
    along = old.astype(np.float64) - batch
    return _along(new - batch, along) if np.any(along) else 1.0
