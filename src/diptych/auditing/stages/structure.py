"""Structure: matching of the layers, and differences in their settings."""

from dataclasses import replace

import numpy as np

from diptych.auditing.beside import beside, parameters_of
from diptych.auditing.effects import effect_of
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter, place
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.kinds.activation import linear
from diptych.auditing.kinds.directions import RECURRENT
from diptych.auditing.kinds.registry import comparable, kind_of, words
from diptych.auditing.match import Match, parameter_shapes
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable

NAME = "structure"
FAR = 100
"""The factor of the inputs that is tried to reach a limit."""
JOINS = ("concatenate", "stack")
"""Kinds whose inputs have an order."""


def check(pair: Pair, examples: Examples, report: Reporter) -> Stage:
    """Compares each pair of matched layers; the parameter counts follow from them."""
    moved = _moved(pair)
    for number, match in enumerate(pair.matches):
        if number in moved:
            _report_order(pair, number, moved[number], report)
        elif match.a is None or match.b is None:
            _missing(pair, examples, match, report)
        elif "custom" in (match.a.kind, match.b.kind):
            continue  # By behaviour, in the stage forward.
        elif comparable(match.a, match.b):
            _compare(pair, examples, match, match.a, match.b, report)
            _compare_order(pair, examples, match, match.a, match.b, report)
        else:
            report("layer-kind", at=match, a=words(match.a), b=words(match.b))
    _compare_shared(pair, report)
    counts = [
        sum(side.own[name].size for name in parameters_of(graph))
        for side, graph in zip(pair.sides.values(), (pair.a, pair.b), strict=True)
    ]
    if not report.has(NAME) and not pair.whole:
        names = pair.transfer.names
        report(
            "unexplained",
            a=_without_partner(pair.a, set(names)),
            b=_without_partner(pair.b, set(names.values())),
        )
    stage = Stage(NAME, ok=not report.has(NAME))
    stage.coverage.compared(len(pair.matches), layers="all matched ones")
    _leave_out_beside(pair, stage)
    stage.note = (
        f"{len(pair.matches)} layers, {counts[0]:,} parameters"
        if counts[0] == counts[1]
        else f"{counts[0]:,} parameters against {counts[1]:,}"
    )
    return stage


def _leave_out_beside(pair: Pair, stage: Stage) -> None:
    """Lists the weights beside a network without a counterpart: each side keeps its own."""
    graphs = {"a": pair.a, "b": pair.b}
    alone = {which: beside(graphs[which], pair.sides[which].own) for which in SIDES}
    if not pair.beside and any(alone.values()):
        listed = [
            f"{', '.join(names[:4]) or 'none'}{', …' * (len(names) > 4)}"
            for names in alone.values()
        ]
        stage.coverage.leave_out(
            f"weights that predictions do not use (A: {listed[0]}; B: {listed[1]})",
            "their shapes differ",
        )


AROUND = 2
"""The number of matched layers between the two positions of a layer that was moved."""
Moved = dict[int, int | None]


def _moved(pair: Pair) -> Moved:
    """Layers that both sides have, at slightly different positions.

    Returns the position of the second one by that of the first one, and None for the second one.
    """
    moved: Moved = {}
    for number, match in enumerate(pair.matches):
        if number in moved or (match.a and match.b):
            continue
        for further in range(number + 1, min(number + 2 + AROUND, len(pair.matches))):
            other = pair.matches[further]
            if further not in moved and _is_one_layer(pair, match, other):
                moved |= {number: further, further: None}
                break
    return moved


def _is_one_layer(pair: Pair, match: Match, other: Match) -> bool:
    """True if two layers without a counterpart are the same layer, one on each side."""
    nodes = (match.a or other.a, match.b or other.b)
    a, b = nodes
    if (match.a and match.b) or (other.a and other.b) or a is None or b is None:
        return False
    if a.kind != b.kind or a.kind in ("custom", "flatten"):
        return False
    shapes = [
        parameter_shapes(node, side.own)
        for node, side in zip(nodes, pair.sides.values(), strict=True)
        if node
    ]
    return shapes[0] == shapes[1] and not kind_of(a).differences(a, b, *shapes)


def _report_order(pair: Pair, number: int, further: int | None, report: Reporter) -> None:
    if further is None:
        return  # Reported at the first of the two.
    match, other = pair.matches[number], pair.matches[further]
    between = [each.a or each.b for each in pair.matches[number + 1 : further]]
    name = words(between[0]) if between and between[0] else "the next layer"
    both = Match(match.a or other.a, match.b or other.b)
    node = both.a or both.b
    assert node
    before, behind = f"{words(node)} before {name}", f"{words(node)} after {name}"
    a, b = (before, behind) if match.a else (behind, before)
    report("layer-order", at=both, a=a, b=b)


def _compare_shared(pair: Pair, report: Reporter) -> None:
    """Reports parameters that one side uses in several layers while the other has separate ones."""
    partners: dict[Which, dict[str, dict[str, Match]]] = {"a": {}, "b": {}}
    for match in pair.matches:
        for _, a, b in match.parameters():
            partners["a"].setdefault(a, {}).setdefault(b, match)
            partners["b"].setdefault(b, {}).setdefault(a, match)
    for which, of_side in partners.items():
        for name, others in of_side.items():
            if len(others) > 1:
                one, several = f"one parameter, {name}", f"separate ones: {', '.join(others)}"
                a, b = (one, several) if which == "a" else (several, one)
                report("shared-weights", at=list(others.values())[-1], a=a, b=b)


def _without_partner(graph: Graph, names: set[str]) -> str:
    """The parameters of a side without a counterpart on the other, in words.

    Args:
        graph: the side's.
        names: of its parameters that have one.
    """
    alone = [n for node in graph.nodes for n in node.parameters.values() if n not in names]
    return f"parameters without a counterpart: {', '.join(dict.fromkeys(alone)) or 'none'}"


def _missing(pair: Pair, examples: Examples, match: Match, report: Reporter) -> None:
    node = match.a or match.b
    assert node
    if node.kind == "flatten":
        return  # Nothing is computed in it; what follows says whether the shapes fit.
    draws = kind_of(node).in_training == "draws"
    if draws and not all(side.trains for side in pair.sides.values()):
        return  # A file for inference need not have it.
    if draws and _draws_in_own_way(pair, examples, "b" if match.a else "a"):
        report.note(
            f"{'B' if match.a else 'A'} draws random numbers in code of its own where the other "
            "side has layers that do: what they draw is compared as distributions"
        )
        return
    code = "activation" if node.kind == "activation" else "layer-missing"
    absent = "no such layer"
    if code == "activation":  # The other side may have its own at the end, where none is matched.
        other_end = pair.final["b" if match.a else "a"]
        is_end = isinstance(other_end, str) and _is_last(pair, match)
        absent = str(other_end) if is_end else "none (linear)"
    graph = pair.graphs["a" if match.a else "b"]
    takers = [other.kind for other in graph.nodes if node.name in other.inputs]
    steps = [step[0] for step in node.attributes.get("steps", ())]
    if steps == ["transpose"] and takers == ["flatten"]:
        code, absent = "flatten-order", "axes as they are"
    others = [other.a if match.a else other.b for other in pair.matches if other.a and other.b]
    if node.kind in RECURRENT and node.parameters in [o.parameters for o in others if o]:
        absent = "this output of the layer is not used"
    a, b = (words(node), absent) if match.a else (absent, words(node))
    words_of_effect = ""
    if draws:
        words_of_effect = "in training only"
    elif match.a and node.kind == "activation":
        effect = effect_of(pair, examples.x["a"], {node.name: linear(node)})
        words_of_effect = effect.words if effect else ""
    report(code, at=match, a=a, b=b, effect=words_of_effect)


def _draws_in_own_way(pair: Pair, examples: Examples, which: Which) -> bool:
    """True if a side's outputs vary in training, and no layer that is known does it."""
    if any(kind_of(node).in_training == "draws" for node in pair.graphs[which].nodes):
        return False
    try:
        one, other = pair.sides[which].outputs(examples.x[which], True, runs=2)
    except (Failed, Unable):
        return False
    return not np.array_equal(one, other)


def _is_last(pair: Pair, match: Match) -> bool:
    """True if a node without a counterpart is the last one of its network."""
    graph, node = (pair.a, match.a) if match.a else (pair.b, match.b)
    return bool(graph.nodes) and graph.nodes[-1] is node


def _compare(
    pair: Pair, examples: Examples, match: Match, a: Node, b: Node, report: Reporter
) -> None:
    """Reports each difference of two matched nodes, except one without any effect, and one that
    another output of the same layer has shown already."""
    same = [m for m in pair.matches if m.a and m.b and m.a.parameters == a.parameters]
    outputs = {place(m) for m in same if a.parameters}
    told = {(f.code, f.a, f.b) for f in report.audit.findings if f.layer in outputs}
    of_a, of_b = (
        parameter_shapes(node, side.own)
        for node, side in zip((a, b), pair.sides.values(), strict=True)
    )
    for difference in kind_of(a).differences(a, b, of_a, of_b):
        if difference.conventional and not _one_convention(pair):
            continue
        if (difference.code, difference.a, difference.b) in told:
            continue
        words_of_effect = difference.effect
        if difference.changed is not None:
            x, changes = examples.x["a"], {a.name: difference.changed}
            effect = effect_of(pair, x, changes)
            if effect is not None:
                words_of_effect = effect.words
                if effect.moved == 0:
                    # A limit that these inputs do not reach is one all the same.
                    effect = effect_of(pair, FAR * x, changes)
                    if effect is None or effect.moved == 0:
                        continue
                    words_of_effect = (
                        f"none on these inputs; with {FAR} times these, {effect.words}"
                    )
        report(difference.code, at=match, a=difference.a, b=difference.b, effect=words_of_effect)


def _compare_order(
    pair: Pair, examples: Examples, match: Match, a: Node, b: Node, report: Reporter
) -> None:
    """Reports two nodes that join the same inputs in a different order."""
    if a.kind != b.kind or a.kind not in JOINS:
        return
    partners = {m.a.name: m.b.name for m in pair.matches if m.a and m.b} | {INPUT: INPUT}
    of_b = [partners.get(name, "") for name in a.inputs]
    if of_b == list(b.inputs) or sorted(of_b) != sorted(b.inputs):
        return
    inputs = tuple(a.inputs[of_b.index(name)] for name in b.inputs)
    effect = effect_of(pair, examples.x["a"], {a.name: replace(a, inputs=inputs)})
    if effect is not None and effect.moved == 0:
        return
    one, other = (f"joins {', '.join(node.inputs)} in this order" for node in (a, b))
    report("axis", at=match, a=one, b=other, effect=effect.words if effect else "")


def _one_convention(pair: Pair) -> bool:
    """True if both sides have the same convention for the axis of the channels. Unknown for an
    exported file, which has the convention of its source."""
    frameworks = [side.framework for side in pair.sides.values()]
    if any(framework.startswith("ONNX") for framework in frameworks):
        return False
    return len({framework.split()[0] == "PyTorch" for framework in frameworks}) == 1
