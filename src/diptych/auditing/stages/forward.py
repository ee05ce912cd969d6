"""Forward: the output of every layer on both sides, with the same weights and examples.

Each layer is compared with float64 on the input that it had on its own side. So every layer that
does not compute what it declares is found, not only the first one, and no error hides another.
"""

from dataclasses import dataclass

import numpy as np

from diptych.auditing import reference
from diptych.auditing.black_boxes import Comparison
from diptych.auditing.endings import as_one, of_both
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays, Node
from diptych.auditing.grouping import TOGETHER
from diptych.auditing.kinds.registry import hypotheses, kind_of, words
from diptych.auditing.kinds.rounding import UNIT
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which, without_final
from diptych.auditing.report import Stage
from diptych.auditing.side import recorded
from diptych.auditing.weights import Weights, an_ulp_off, stirred

NAME = "forward"
PRECISIONS = {"bfloat16": 2.0**16, "float16": 2.0**13}
"""The rounding of these types, relative to float32."""
Faults = dict[Which, dict[str, float]]
"""The ratio of each layer's error to the bound of float32's rounding, by side and layer."""


@dataclass(frozen=True)
class Forward:
    """The result that later stages use."""

    stage: Stage
    weights: Weights
    """The same weights on both sides, as far as they fit; both sides have loaded them."""
    unit: float
    """The rounding of the less precise side, relative to float32."""


def check(pair: Pair, examples: Examples, report: Reporter) -> Forward:
    """Loads A's weights into B and compares the records of both."""
    stage = Stage(NAME)
    before = len(report.audit.findings)
    a, b = pair.sides["a"], pair.sides["b"]
    common = stirred(pair)
    a.load(common)
    b.load(pair.transfer.to_b(common))
    weights = {"a": a.own | common, "b": b.own | pair.transfer.to_b(common)}
    records = recorded(pair.sides, examples.x, False)
    known: dict[bytes, reference.Distance] = {}
    faults = {
        which: _faults(pair, which, weights[which], records[which], stage, known) for which in SIDES
    }
    precisions = {which: _precision(faults[which], records[which]) for which in SIDES}
    if precisions["a"] != precisions["b"]:
        _report_precision(pair, precisions, faults, report)
    unit = max(PRECISIONS.get(precision, 1.0) for precision in precisions.values())
    for which, graph in (("a", pair.a), ("b", pair.b)):
        inside = {name for node in graph.nodes for name in node.attributes.get(TOGETHER, ())}
        for name, ratio in faults[which].items():
            if name in inside:
                continue  # It is compared with what the other side has for the whole group.
            if ratio > PRECISIONS.get(precisions[which], 1.0):
                _explain(pair, which, name, weights[which], records[which], report)
    comparison = Comparison(pair, unit, records, False, report)
    for match in pair.matches:
        if match.a and match.b and "custom" in (match.a.kind, match.b.kind):
            stage.coverage.compared(1, layers="unknown ones by their outputs")
            comparison.compare(match, stage)
    if pair.whole and not report.has():
        _outputs(pair, examples, weights, unit, records, stage, report)
    elif not pair.whole:
        stage.note = "not all weights fit both sides; each side was checked separately"
    stages = {finding.stage for finding in report.audit.findings[before:]}
    if "mode" in stages:
        stage.note = "a side predicts in training mode; see mode"
    stage.ok = NAME not in stages
    return Forward(stage, weights, unit)


def _faults(
    pair: Pair,
    which: Which,
    weights: Arrays,
    record: Arrays,
    stage: Stage,
    known: dict[bytes, reference.Distance],
) -> dict[str, float]:
    """The nodes whose outputs rounding in float32 does not explain, with the ratio to its bound."""
    distances = reference.check(pair.graphs[which], weights, record, False, known)
    for distance in distances.values():
        stage.coverage.compared(1, layers="each with its own side's inputs")
        if distance.ratio <= 1:
            stage.saw(distance.difference, distance.bound)
    return {name: distance.ratio for name, distance in distances.items() if distance.ratio > 1}


def _precision(faults: dict[str, float], record: Arrays) -> str:
    """The precision of a side, from the number of digits in its outputs."""
    for name in faults:
        bits = np.ascontiguousarray(record[name], np.float32).view(np.uint32)
        if not np.any(bits & 0xFFFF):
            return "bfloat16"
        if not np.any(bits & 0x1FFF):
            return "float16"
    return "float32"


def _report_precision(
    pair: Pair, precisions: dict[Which, str], faults: Faults, report: Reporter
) -> None:
    which: Which = "a" if precisions["a"] != "float32" else "b"
    first = next(iter(faults[which]))
    report(
        "precision",
        at=_match_of(pair, which, first) or first,
        a=precisions["a"],
        b=precisions["b"],
        effect=f"the layer's outputs are off by up to {max(faults[which].values()):,.0f} times "
        f"what float32's rounding explains, and hold only {precisions[which]} numbers",
    )


def _match_of(pair: Pair, which: Which, name: str) -> Match | None:
    for match in pair.matches:
        node = match.a if which == "a" else match.b
        if node and node.name == name:
            return match
    return None


def _explain(
    pair: Pair, which: Which, name: str, weights: Arrays, record: Arrays, report: Reporter
) -> None:
    """Names what a node computes if it is not what its framework declares."""
    node = next(node for node in pair.graphs[which].nodes if node.name == name)
    in_training = kind_of(node).in_training
    as_in_training = in_training == "statistics" and (
        reference.ratios([node], weights, record, True)[0] <= 1
    )
    match = _match_of(pair, which, name)
    at = match or name
    if in_training == "draws" or as_in_training:
        a, b = "predicts in training mode", "predicts in inference mode"
        if which == "b":
            a, b = b, a
        report("training-mode", at=at, a=a, b=b, stage="mode")
        return
    candidates = hypotheses(node, record)
    ratios = reference.ratios([candidate for _, candidate in candidates], weights, record, False)
    fitting = [c for c, ratio in zip(candidates, ratios, strict=True) if ratio <= 1]
    partner = (match.b if which == "a" else match.a) if match else None
    other = words(partner) if partner else "no such layer"
    code, effect = "unexplained", f"the smallest input that fails: {_smallest(record, node)}"
    own = "its outputs are not those of the declared layer; no known cause explains it"
    if fitting:
        code, really = fitting[0]
        if partner and (really.kind, really.attributes) == (partner.kind, partner.attributes):
            return  # It does what the other side says; the two are alike.
        own, effect = f"{words(really)} (declared as {words(node)})", ""
    a, b = (own, other) if which == "a" else (other, own)
    report(code, at=at, a=a, b=b, effect=effect)


def _smallest(record: Arrays, node: Node) -> str:
    x = record[node.inputs[0]]
    return f"example {int(np.abs(x.reshape(len(x), -1)).sum(1).argmin())} of {len(x)}"


def _outputs(
    pair: Pair,
    examples: Examples,
    weights: Weights,
    unit: float,
    records: dict[Which, Arrays],
    stage: Stage,
    report: Reporter,
) -> None:
    """Compares the outputs of the whole networks."""
    names = {which: graph.nodes[-1].name for which, graph in (("a", pair.a), ("b", pair.b))}
    if missing := [names[which] for which in SIDES if names[which] not in records[which]]:
        reason = "it runs in training only; the predictions are compared"
        stage.coverage.leave_out(f"the outputs of {', '.join(missing)}", reason)
        return
    outputs = {which: records[which][names[which]] for which in SIDES}
    # The last node of several outputs joins them behind their final activations.
    joined = any(isinstance(final, tuple) for final in pair.final.values())
    a, b = as_one(pair, outputs) if joined else of_both(pair, outputs)
    if a.shape != b.shape:
        stage.coverage.leave_out("the outputs of the whole networks", "their sizes differ")
        return
    difference = float(np.abs(a - b).max(initial=0.0))
    # The last operation alone rounds so much; more is computed where this does not explain it.
    bound = unit * UNIT * float(np.abs(a).max(initial=0.0))
    if difference > bound and pair.computable("a"):
        network = without_final(pair.graphs["a"])
        for one in reference.output_bounds(network, weights["a"], examples.x["a"]):
            bound = max(bound, 2 * unit * one)
            if difference <= bound:
                break
    elif difference > bound:
        bound = unit * _yardstick(pair, examples, weights, names["a"], a)
    stage.largest_difference, stage.rounding_bound = difference, bound
    if difference > bound:
        first = int(np.abs(a - b).reshape(len(a), -1).max(1).argmax())
        report(
            "unexplained",
            a="its outputs with the same weights",
            b="different outputs",
            effect=f"they differ by up to {difference:.3g}, rounding explains up to {bound:.1e}; "
            f"most on example {first}; every single layer is right by itself",
        )


def _yardstick(
    pair: Pair, examples: Examples, weights: Weights, last: str, exact: np.ndarray
) -> float:
    """The bound of rounding if there is no reference: the effect of changing weights by an ulp."""
    side = pair.sides["a"]
    side.load(an_ulp_off(weights["a"], seed=1))
    other = side.record(examples.x["a"], False)[last].astype(np.float64)
    side.load(weights["a"])
    return 16 * float(np.abs(other - exact).max(initial=0.0)) + 1e-6
