"""Structure: layers matched in order, and what each of them really does."""

from dataclasses import replace

from diptych.auditing.graph import Node
from diptych.auditing.match import POOLS, Match, parameter_shapes
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Stage

NAME = "structure"
WORDS = {
    "max_pool": "max pooling",
    "average_pool": "average pooling",
    "global_average_pool": "global average pooling",
    "global_max_pool": "global max pooling",
    "conv": "convolution",
    "batch_norm": "batch normalisation",
}


def check(pair: Pair) -> Stage:
    """Compares each pair of matched layers; the parameter counts follow from them."""
    before = len(pair.audit.findings)
    for match in pair.matches:
        if match.a is None or match.b is None:
            _missing(pair, match)
        elif "custom" in (match.a.kind, match.b.kind):
            continue  # By behaviour, in the stage forward.
        elif match.a.kind in POOLS and match.b.kind in POOLS:
            _pools(pair, match, match.a, match.b)
        elif match.a.kind != match.b.kind:
            code = "layer-kind"
            pair.found(NAME, code, pair.place(match), words(match.a), words(match.b))
        else:
            _same_kind(pair, match, match.a, match.b)
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


def words(node: Node) -> str:
    """A layer in words, with what matters of it."""
    name = WORDS.get(node.kind, node.kind.replace("_", " "))
    match node.kind:
        case "activation":
            slope = node.attributes["slope"]
            of = f" with slope {slope:.6g}" if slope is not None else ""
            return f"{node.attributes['function']}{of}"
        case "dropout":
            return f"dropout of {node.attributes['rate']:.6g}"
        case "max_pool" | "average_pool":
            return f"{name} {'×'.join(map(str, node.attributes['size']))}"
        case "conv" | "dense" | "flatten":
            return f"{name} to {'×'.join(map(str, node.shape))}"
        case "custom":
            return f"custom layer {node.attributes['class']}"
    return name


def _missing(pair: Pair, match: Match) -> None:
    node = match.a or match.b
    assert node
    if node.kind in ("flatten", "custom") and not node.parameters and node.kind == "flatten":
        return  # Nothing is computed in it; what follows says whether the shapes fit.
    if node.kind == "dropout" and not all(side.trains for side in pair.sides.values()):
        return  # A file for inference need not have it.
    code = "activation" if node.kind == "activation" else "layer-missing"
    absent = "none (linear)" if code == "activation" else "no such layer"
    a, b = (words(node), absent) if match.a else (absent, words(node))
    effect = ""
    if match.a and match.a.kind in ("activation", "dropout"):
        nothing = replace(
            match.a, kind="activation", attributes={"function": "linear", "slope": None}
        )
        effect = (pair.effect_of({match.a.name: nothing}) or (0, ""))[1]
    if node.kind == "dropout":
        effect = "in training only"
    pair.found(NAME, code, pair.place(match), a, b, effect)


def _changed(pair: Pair, match: Match, code: str, *said: str, partner: Node | None = None) -> None:
    """A difference in an attribute; dropped where it has no effect at all on the numbers."""
    assert match.a and match.b
    effect = ""
    if partner is not None:
        found = pair.effect_of({match.a.name: partner})
        if found is not None:
            if found[0] == 0:
                return
            effect = found[1]
    pair.found(NAME, code, pair.place(match), *said, effect)


def _with(node: Node, other: Node, *keys: str) -> Node:
    """The node with some of another's attributes."""
    return replace(node, attributes=node.attributes | {key: other.attributes[key] for key in keys})


def _pools(pair: Pair, match: Match, a: Node, b: Node) -> None:
    if a.kind != b.kind:
        as_b = replace(b, name=a.name, inputs=a.inputs)
        _changed(pair, match, "pooling", words(a), words(b), partner=as_b)
        if "global" in a.kind + b.kind:
            return
    if a.kind.startswith("global"):
        return
    _windows(pair, match, a, b)
    counts = [node.attributes.get("count_padding", False) for node in (a, b)]
    if a.kind == b.kind == "average_pool" and counts[0] != counts[1]:
        said = ["padding counts in the average" if c else "padding does not count" for c in counts]
        _changed(pair, match, "pooling", *said, partner=_with(a, b, "count_padding"))


def _windows(pair: Pair, match: Match, a: Node, b: Node) -> None:
    """Size, strides and padding of a pool or convolution."""
    sizes = [_size(pair, a, "a"), _size(pair, b, "b")]
    if sizes[0] != sizes[1]:
        _changed(pair, match, "kernel-size", _times(sizes[0]), _times(sizes[1]))
    strides = [list(node.attributes["strides"]) for node in (a, b)]
    follows = sizes[0] != sizes[1] and strides == sizes  # A pool's stride is its size by default.
    if strides[0] != strides[1] and not follows:
        _changed(pair, match, "stride", _times(strides[0]), _times(strides[1]))
    padding = [[list(p) for p in node.attributes["padding"]] for node in (a, b)]
    if padding[0] != padding[1] and sizes[0] == sizes[1] and strides[0] == strides[1]:
        said = [_padding(p) for p in padding]
        partner = _with(a, b, "padding")
        _changed(pair, match, "padding", *said, partner=partner)


def _size(pair: Pair, node: Node, which: str) -> list[int]:
    if "size" in node.attributes:
        return list(node.attributes["size"])
    own = pair.sides["a" if which == "a" else "b"].own
    return list(own[node.parameters["kernel"]].shape[:-2])


def _times(values: list[int]) -> str:
    return "×".join(map(str, values))


def _padding(padding: list[list[int]]) -> str:
    if not any(any(p) for p in padding):
        return "no padding"
    names = ("top", "bottom", "left", "right") if len(padding) == 2 else ("before", "after")
    pixels = [pixel for pair in padding for pixel in pair]
    return "padding " + ", ".join(
        f"{name} {pixel}" for name, pixel in zip(names, pixels, strict=False)
    )


def _same_kind(pair: Pair, match: Match, a: Node, b: Node) -> None:
    of_a, of_b = (
        parameter_shapes(n, s.own) for n, s in zip((a, b), pair.sides.values(), strict=True)
    )
    match a.kind:
        case "conv" | "dense":
            units = [of_a["kernel"][-1], of_b["kernel"][-1]]
            if units[0] != units[1]:
                _changed(pair, match, "units", *(f"{n} units" for n in units))
            if a.kind == "conv":
                _windows(pair, match, a, b)
                for key, code in (("dilation", "kernel-size"), ("groups", "units")):
                    if a.attributes[key] != b.attributes[key]:
                        said = [f"{key} {node.attributes[key]}" for node in (a, b)]
                        _changed(pair, match, code, *said)
            if ("bias" in of_a) != ("bias" in of_b):
                said = ["with a bias" if "bias" in of else "no bias" for of in (of_a, of_b)]
                _changed(pair, match, "bias-missing", *said)
        case "activation":
            functions = [node.attributes["function"] for node in (a, b)]
            if functions[0] != functions[1]:
                _changed(
                    pair,
                    match,
                    "activation",
                    words(a),
                    words(b),
                    partner=_with(a, b, "function", "slope"),
                )
            elif _differ(a.attributes["slope"], b.attributes["slope"]):
                _changed(
                    pair,
                    match,
                    "activation-slope",
                    words(a),
                    words(b),
                    partner=_with(a, b, "slope"),
                )
        case "dropout":
            if _differ(a.attributes["rate"], b.attributes["rate"]):
                pair.found(
                    NAME, "dropout-rate", pair.place(match), words(a), words(b),
                    "in training only; the stage mode has the measured shares",
                )  # fmt: skip
        case "batch_norm":
            if _differ(a.attributes["epsilon"], b.attributes["epsilon"]):
                said = [f"epsilon {node.attributes['epsilon']:.6g}" for node in (a, b)]
                _changed(pair, match, "batchnorm-epsilon", *said, partner=_with(a, b, "epsilon"))
            for role, what in (("gamma", "a scale"), ("beta", "an offset")):
                if (role in of_a) != (role in of_b):
                    said = [
                        f"with {what}" if role in of else f"without {what}" for of in (of_a, of_b)
                    ]
                    _changed(pair, match, "bias-missing" if role == "beta" else "layer-kind", *said)
        case "flatten":
            natives = {side.framework.split()[0] == "PyTorch" for side in pair.sides.values()}
            if any(side.framework.startswith("ONNX") for side in pair.sides.values()):
                return  # An exported file has the order of wherever it comes from.
            orders = [node.attributes["order"] for node in (a, b)]
            if len(natives) == 1 and orders[0] != orders[1]:
                said = [f"channels come {order}" for order in orders]
                _changed(pair, match, "flatten-order", *said, partner=_with(a, b, "order"))


def _differ(a: float | None, b: float | None) -> bool:
    """Whether two settings differ by more than float32's rounding."""
    if a is None or b is None:
        return a is not b
    return abs(a - b) > 1e-6 * max(abs(a), abs(b))
