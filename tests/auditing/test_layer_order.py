"""Layers that stand in another order are one finding."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.match import Final, Transfer, align
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Audit
from diptych.auditing.stages import structure

OWN = {"c1": np.zeros((3, 3, 3, 4)), "c2": np.zeros((3, 3, 4, 4)), "w": np.zeros((4, 2))}
CONV = {"strides": [1, 1], "padding": [[1, 1]] * 2, "dilation": [1, 1], "groups": 1}


def network(*order: str) -> Graph:
    """A convolution, the layers in this order, and a dense layer."""
    attributes = {"relu": {"function": "relu", "slope": None}, "conv": CONV}
    nodes = [Node("first", "conv", (INPUT,), (8, 8, 4), CONV, {"kernel": "c1"})]
    for name in order:
        kind = "activation" if name == "relu" else "conv"
        parameters = {} if name == "relu" else {"kernel": "c2"}
        nodes.append(Node(name, kind, (nodes[-1].name,), (8, 8, 4), attributes[name], parameters))
    nodes.append(Node("out", "dense", (nodes[-1].name,), (2,), {}, {"kernel": "w"}))
    return Graph((8, 8, 3), tuple(nodes))


def codes(a: Graph, b: Graph, end: str | None = None) -> list[tuple[str, str, str]]:
    """The findings, where A has this activation at its end."""
    sides: Any = {which: SimpleNamespace(own=OWN, trains=True) for which in ("a", "b")}
    matches = align(a, b, OWN, OWN)
    transfer = Transfer.between(a, b, matches, OWN, OWN)
    final: dict[Which, Final] = {"a": end, "b": None}
    pair = Pair(sides, {"a": a, "b": b}, a, b, final, matches, transfer)
    audit = Audit("a", "b", ("Keras", "PyTorch"))
    examples: Any = SimpleNamespace(x={"a": np.zeros((1, 8, 8, 3))})
    structure.check(pair, examples, Reporter(audit, "structure"))
    return [(finding.code, finding.a, finding.b) for finding in audit.findings]


def test_two_layers_in_the_other_order_are_one_finding() -> None:
    [(code, a, b)] = codes(network("conv", "relu"), network("relu", "conv"))
    assert code == "layer-order"
    assert " before " in a + b and " after " in a + b


def test_the_same_order_is_no_finding() -> None:
    assert codes(network("conv", "relu"), network("conv", "relu")) == []


def test_a_layer_that_is_gone_is_missing() -> None:
    assert [code for code, *_ in codes(network("conv"), network("conv", "relu"))] == ["activation"]


def test_a_softmax_over_the_batch_is_told_from_one_at_the_end() -> None:
    a, b = network("conv"), network("conv")
    attributes = {"function": "softmax", "slope": None, "axis": -2}
    last = Node("softmax", "activation", ("out",), (2,), attributes)
    b = Graph(b.input_shape, (*b.nodes, last))
    assert codes(a, b, "softmax") == [("activation", "softmax", "softmax over the batch")]
    assert codes(a, b) == [("activation", "none (linear)", "softmax over the batch")]
