"""Structure: layers matched in order, and what each of them really does."""

from diptych.auditing.graph import Node
from diptych.auditing.kinds.activation import linear
from diptych.auditing.kinds.registry import comparable, kind_of, words
from diptych.auditing.match import Match, parameter_shapes
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Stage

NAME = "structure"


def check(pair: Pair) -> Stage:
    """Compares each pair of matched layers; the parameter counts follow from them."""
    before = len(pair.audit.findings)
    for match in pair.matches:
        if match.a is None or match.b is None:
            _missing(pair, match)
        elif "custom" in (match.a.kind, match.b.kind):
            continue  # By behaviour, in the stage forward.
        elif comparable(match.a, match.b):
            _compare(pair, match, match.a, match.b)
        else:
            code = "layer-kind"
            pair.found(NAME, code, pair.place(match), words(match.a), words(match.b))
    counts = [
        sum(side.own[name].size for node in graph.nodes for name in node.parameters.values())
        for side, graph in zip(pair.sides.values(), (pair.a, pair.b), strict=True)
    ]
    if len(pair.audit.findings) == before and not pair.whole():
        pair.found(NAME, "unexplained", None, *(_alone(pair, which) for which in ("a", "b")))
    stage = Stage(NAME, ok=len(pair.audit.findings) == before)
    stage.coverage.compared(len(pair.matches), layers="every matched one")
    stage.note = (
        f"{len(pair.matches)} layers, {counts[0]:,} parameters"
        if counts[0] == counts[1]
        else f"{counts[0]:,} parameters against {counts[1]:,}"
    )
    return stage


def _alone(pair: Pair, which: Which) -> str:
    """The parameters of a side that have no place in the other."""
    graph, names = (
        (pair.a, set(pair.transfer.names))
        if which == "a"
        else (pair.b, set(pair.transfer.names.values()))
    )
    alone = [n for node in graph.nodes for n in node.parameters.values() if n not in names]
    return f"parameters without a partner: {', '.join(alone) or 'none'}"


def _missing(pair: Pair, match: Match) -> None:
    node = match.a or match.b
    assert node
    if node.kind == "flatten":
        return  # Nothing is computed in it; what follows says whether the shapes fit.
    if node.kind == "dropout" and not all(side.trains for side in pair.sides.values()):
        return  # A file for inference need not have it.
    code = "activation" if node.kind == "activation" else "layer-missing"
    absent = "none (linear)" if code == "activation" else "no such layer"
    a, b = (words(node), absent) if match.a else (absent, words(node))
    effect = ""
    if match.a and match.a.kind in ("activation", "dropout"):
        effect = (pair.effect_of({match.a.name: linear(match.a)}) or (0, ""))[1]
    if node.kind == "dropout":
        effect = "in training only"
    pair.found(NAME, code, pair.place(match), a, b, effect)


def _compare(pair: Pair, match: Match, a: Node, b: Node) -> None:
    """Reports each difference of two matched nodes, except where it changes no number at all."""
    of_a, of_b = (
        parameter_shapes(node, side.own)
        for node, side in zip((a, b), pair.sides.values(), strict=True)
    )
    for difference in kind_of(a).differences(a, b, of_a, of_b):
        if difference.conventional and not _one_convention(pair):
            continue
        effect = difference.effect
        if difference.changed is not None:
            moved = pair.effect_of({a.name: difference.changed})
            if moved is not None:
                if moved[0] == 0:
                    continue
                effect = moved[1]
        pair.found(NAME, difference.code, pair.place(match), difference.a, difference.b, effect)


def _one_convention(pair: Pair) -> bool:
    """Whether both sides have their channels at the same place by convention. An exported file has
    the convention of whatever it comes from."""
    frameworks = [side.framework for side in pair.sides.values()]
    if any(framework.startswith("ONNX") for framework in frameworks):
        return False
    return len({framework.split()[0] == "PyTorch" for framework in frameworks}) == 1
