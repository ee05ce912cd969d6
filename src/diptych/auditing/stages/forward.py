"""Forward: the same weights in both sides, and every layer's output on the same examples.

Each layer is held against float64 on the input that its own side gave it. So every layer that does
something else than it says is found, not only the first, and no error hides in another's.
"""

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import INPUT, Arrays, Node
from diptych.auditing.kinds.registry import hypotheses, kind_of, role_of, words
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage

NAME = "forward"
RUNS = 8
"""Runs of a node that draws random numbers."""
CHANCE = 1e-9
"""The chance of an alarm about one such node where there is nothing."""
PRECISIONS = {"bfloat16": 2.0**16, "float16": 2.0**13}
"""How much coarser than float32 they are."""
YARD = 64.0
"""How many times the effect of moving each input by an ulp rounding may have in a black box."""


def check(pair: Pair) -> Stage:
    """Puts A's weights into B and records both."""
    stage = Stage(NAME)
    before = len(pair.audit.findings)
    a, b = pair.sides["a"], pair.sides["b"]
    given = lively(pair)
    a.load(given)
    b.load(pair.transfer.to_b(given))
    pair.parameters = {"a": a.own | given, "b": b.own | pair.transfer.to_b(given)}
    records = {
        which: side.record(pair.x[which], False) | {INPUT: pair.x[which]}
        for which, side in pair.sides.items()
    }
    faults = {which: _faults(pair, which, records[which], stage) for which in SIDES}
    precisions = {which: _precision(faults[which], records[which]) for which in SIDES}
    if precisions["a"] != precisions["b"]:
        _report_precision(pair, precisions, faults)
    coarsest = max(PRECISIONS.get(p, 1.0) for p in precisions.values())
    pair.unit = coarsest
    for which in SIDES:
        for name, ratio in faults[which].items():
            if ratio > PRECISIONS.get(precisions[which], 1.0):
                _explain(pair, which, name, records[which])
    for match in pair.matches:
        if match.a and match.b and "custom" in (match.a.kind, match.b.kind):
            stage.coverage.compared(1, layers="unknown ones from outside")
            black_box(pair, match, records, stage, training=False)
    if pair.whole() and not pair.audit.findings:
        _outputs(pair, records, stage)
    elif not pair.whole():
        stage.note = "not all weights fit into both; each side was checked on its own"
    found = {finding.stage for finding in pair.audit.findings[before:]}
    if "mode" in found:
        stage.note = "a side predicts as if it trained: see mode"
    stage.ok = NAME not in found
    return stage


def lively(pair: Pair) -> Arrays:
    """A's weights, with biases and averages that are not all alike: zeros would hide mistakes."""
    chance = np.random.default_rng(0)
    given = dict(pair.sides["a"].own)
    for node in pair.a.nodes:
        for role, name in node.parameters.items():
            value = given[name]
            stir = role_of(node, role).stir
            if stir == "scale":
                given[name] = (value * chance.uniform(0.5, 1.5, value.shape)).astype(value.dtype)
            elif stir == "add":
                moved = value + chance.normal(0, 0.1, value.shape)
                given[name] = moved.astype(value.dtype)
    return {name: given[name] for name in pair.transfer.names} if pair.transfer.names else given


def _faults(pair: Pair, which: Which, record: Arrays, stage: Stage) -> dict[str, float]:
    """The nodes whose outputs float32's rounding does not explain, and by how much they exceed."""
    distances = reference.check(pair.graphs[which], pair.parameters[which], record, False)
    for distance in distances.values():
        stage.coverage.compared(1, layers="each on its own side's inputs")
        if distance.ratio <= 1:
            stage.saw(distance.difference, distance.bound)
    return {name: distance.ratio for name, distance in distances.items() if distance.ratio > 1}


def _precision(faults: dict[str, float], record: Arrays) -> str:
    """The arithmetic of a side: coarse if its numbers themselves have few digits."""
    for name in faults:
        bits = np.ascontiguousarray(record[name], np.float32).view(np.uint32)
        if not np.any(bits & 0xFFFF):
            return "bfloat16"
        if not np.any(bits & 0x1FFF):
            return "float16"
    return "float32"


def _report_precision(pair: Pair, precisions: dict[Which, str], faults) -> None:
    which: Which = "a" if precisions["a"] != "float32" else "b"
    first = next(iter(faults[which]))
    match = _match_of(pair, which, first)
    pair.found(
        NAME, "precision", pair.place(match) if match else first, precisions["a"], precisions["b"],
        f"the layer's outputs are off by up to {max(faults[which].values()):,.0f} times what "
        f"float32's rounding explains, and hold only {precisions[which]} numbers",
    )  # fmt: skip


def _match_of(pair: Pair, which: Which, name: str) -> Match | None:
    for match in pair.matches:
        node = match.a if which == "a" else match.b
        if node and node.name == name:
            return match
    return None


def _explain(pair: Pair, which: Which, name: str, record: Arrays) -> None:
    """Names what a node does that its framework says does something else."""
    node = next(node for node in pair.graphs[which].nodes if node.name == name)
    candidates = hypotheses(node, record)
    parameters = pair.parameters[which]
    if kind_of(node).in_training == "statistics":
        (ratio,) = reference.ratios([node], parameters, record, True)
        if ratio <= 1:
            _found_mode(pair, which, node)
            return
    if kind_of(node).in_training == "draws":
        _found_mode(pair, which, node)
        return
    nodes = [candidate for _, candidate in candidates]
    ratios = reference.ratios(nodes, parameters, record, False)
    fits = [c for c, r in zip(candidates, ratios, strict=True) if r <= 1]
    match = _match_of(pair, which, name)
    place = pair.place(match) if match else name
    partner = (match.b if which == "a" else match.a) if match else None
    said = words(partner) if partner else "no such layer"
    if fits:
        code, really = fits[0]
        if partner and (really.kind, really.attributes) == (partner.kind, partner.attributes):
            return  # It does what the other side says; the two are alike.
        does = f"{words(really)} (it says {words(node)})"
        a, b = (does, said) if which == "a" else (said, does)
        pair.found(NAME, code, place, a, b)
        return
    worst = "its outputs are not what it says, by more than rounding and no known cause"
    a, b = (worst, said) if which == "a" else (said, worst)
    pair.found(
        NAME, "unexplained", place, a, b, f"the smallest failing input: {_smallest(record, node)}"
    )


def _smallest(record: Arrays, node: Node) -> str:
    x = record[node.inputs[0]]
    return f"example {int(np.abs(x.reshape(len(x), -1)).sum(1).argmin())} of {len(x)}"


def _found_mode(pair: Pair, which: Which, node: Node) -> None:
    match = _match_of(pair, which, node.name)
    place = pair.place(match) if match else node.name
    said = ["as in inference", "as in training"]
    a, b = said[::-1] if which == "a" else said
    pair.found("mode", "training-mode", place, f"predicts {a}", f"predicts {b}")


def _drawn(pair: Pair, match: Match, inputs: list[np.ndarray], training: bool) -> None:
    """Holds what two nodes that draw random numbers make of the same inputs against each other, as
    distributions."""
    from scipy import stats

    assert match.a and match.b
    drawn = []
    for which, node in (("a", match.a), ("b", match.b)):
        outputs = [_run(pair, which, node, inputs, training) for _ in range(RUNS)]
        # A side that draws the same each time has drawn once.
        values = {y.tobytes(): y.ravel() for y in outputs if y is not None}
        drawn.append(np.concatenate([np.zeros(0), *values.values()]))
    if not min(each.size for each in drawn):
        return
    # A tenth of the numbers may be one and the same number, and off by rounding on one side.
    unit = 1e-4 * max(float(np.abs(each).max()) for each in drawn)
    p = float(np.asarray(stats.ks_2samp(*(np.rint(each / unit) for each in drawn)))[1])
    if p >= CHANCE or any(f.layer == pair.place(match) for f in pair.audit.findings):
        return
    names = [str(node.attributes.get("class", node.kind)) for node in (match.a, match.b)]
    code = "dropout-rate" if all("drop" in name.lower() for name in names) else "training-mode"
    said = [f"{name}: deviation {each.std():.3g}" for name, each in zip(names, drawn, strict=True)]
    effect = "what they make of the same numbers in training has other distributions"
    pair.found("mode", code, pair.place(match), *said, effect)


def black_box(
    pair: Pair, match: Match, records: dict[Which, Arrays], stage: Stage, training: bool
) -> None:
    """Holds two nodes against each other of which one is known only by what it does."""
    assert match.a and match.b
    a, b = match.a, match.b
    inputs = [records["a"].get(name) for name in a.inputs]
    if any(x is None for x in inputs) or a.name not in records["a"]:
        return
    arrays = [x for x in inputs if x is not None]
    y = records["a"][a.name].astype(np.float64)
    box: Which = "a" if a.kind == "custom" else "b"
    other = _run(pair, "b", b, arrays, training)
    if other is None or other.shape != y.shape:
        said = (words(a), words(b), "their outputs' shapes differ")
        pair.found(NAME, "layer-kind", pair.place(match), *said)
        return
    moved = [np.nextafter(x, np.float32(np.inf)) if x.dtype == np.float32 else x for x in arrays]
    node = a if box == "a" else b
    once, again, after = (_run(pair, box, node, xs, training) for xs in (arrays, arrays, moved))
    if once is None or again is None or after is None:
        return
    if not np.array_equal(once, again):
        _drawn(pair, match, arrays, training)
        return
    # Statistics of a batch are sums of many numbers, which frameworks round otherwise.
    share = 1e-3 if training else 2e-6
    bound = YARD * float(np.abs(once - after).max(initial=0.0))
    bound = pair.unit * (bound + share * float(np.abs(y).max(initial=0.0)))
    difference = float(np.abs(y - other).max(initial=0.0))
    if difference <= bound:
        stage.saw(difference, bound)
        return
    if any(finding.layer == pair.place(match) for finding in pair.audit.findings):
        return
    first = int(np.abs(y - other).reshape(len(y), -1).max(1).argmax())
    stage_name, code = ("mode", "training-mode") if training else (NAME, _black_box_code(a, b))
    effect = (
        f"on the same input and weights they differ by up to {difference:.3g} (rounding explains "
        f"up to {bound:.1e}), most on example {first}"
    )
    pair.found(stage_name, code, pair.place(match), words(a), words(b), effect)


def _black_box_code(a: Node, b: Node) -> str:
    kinds = {a.kind, b.kind}
    if kinds == {"custom"} or "batch_norm" in kinds:
        return "unexplained"
    return "activation" if "activation" in kinds else "layer-kind"


def _run(
    pair: Pair, which: Which, node: Node, inputs: list[np.ndarray], training: bool
) -> np.ndarray | None:
    """A node's output for given inputs: by the reference where it is known, else by its side."""
    if node.kind == "custom":
        return pair.sides[which].run_node(node.name, inputs, training).astype(np.float64)
    parameters = reference.to_float64(
        {role: pair.parameters[which][name] for role, name in node.parameters.items()}
    )
    try:
        return reference.compute(node, parameters, [x.astype(np.float64) for x in inputs], training)
    except reference.DOES_NOT_FIT:
        return None


def _outputs(pair: Pair, records: dict[Which, Arrays], stage: Stage) -> None:
    """The outputs of the whole networks, against each other and against what explains them."""
    names = {which: graph.nodes[-1].name for which, graph in (("a", pair.a), ("b", pair.b))}
    a, b = (records[which][names[which]].astype(np.float64) for which in SIDES)
    if a.shape != b.shape:
        b = b.reshape(a.shape)
    difference = float(np.abs(a - b).max(initial=0.0))
    if pair.expressible("a"):
        explained = reference.output_bound(pair.runnable("a"), pair.parameters["a"], pair.x["a"])
        bound = 2 * pair.unit * explained
    else:
        bound = yardstick(pair, names["a"], a)
    stage.largest_difference, stage.rounding_bound = difference, bound
    if difference > bound:
        first = int(np.abs(a - b).reshape(len(a), -1).max(1).argmax())
        pair.found(
            NAME, "unexplained", None, "outputs on the same weights", "other outputs",
            f"they differ by up to {difference:.3g}, rounding explains up to {bound:.1e}; most on "
            f"example {first}; every layer by itself does what it says",
        )  # fmt: skip


def yardstick(pair: Pair, last: str, exact: np.ndarray) -> float:
    """What rounding explains where no reference can be had: the effect of weights an ulp apart."""
    side = pair.sides["a"]
    chance = np.random.default_rng(1)
    moved = {
        name: value
        * (1 + chance.choice([-1, 1], value.shape).astype(value.dtype) * np.float32(2**-23))
        for name, value in pair.parameters["a"].items()
        if value.dtype.kind == "f"
    }
    side.load(moved)
    other = side.record(pair.x["a"], False)[last].astype(np.float64)
    side.load(pair.parameters["a"])
    return pair.unit * (16 * float(np.abs(other - exact).max(initial=0.0)) + 1e-6)
