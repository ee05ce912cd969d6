"""Layers that are one black box on the other side are taken together."""

import numpy as np
import pytest

from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.grouping import grouped, is_group, matched, orders

DENSE = {"kernel": "out.kernel", "bias": "out.bias"}
BOX = Graph(
    (6,),
    (
        Node("gated", "custom", (INPUT,), (5,), {"class": "Gated"}, {"0": "w", "1": "v"}),
        Node("out", "dense", ("gated",), (1,), {}, DENSE),
    ),
)
PARTS = Graph(
    (6,),
    (
        Node("w", "dense", (INPUT,), (5,), {}, {"kernel": "w.weight"}),
        Node("v", "dense", (INPUT,), (5,), {}, {"kernel": "v.weight"}),
        Node("sigmoid", "activation", ("v",), (5,), {"function": "sigmoid", "slope": None}),
        Node("product", "custom", ("w", "sigmoid"), (5,), {"class": "mul"}),
        Node("out", "dense", ("product",), (1,), {}, DENSE),
    ),
)
HEAD: Arrays = {"out.kernel": np.zeros((5, 1)), "out.bias": np.zeros(1)}
OF_BOX = HEAD | {"w": np.zeros((6, 5)), "v": np.zeros((6, 5))}
OF_PARTS = HEAD | {"w.weight": np.zeros((6, 5)), "v.weight": np.zeros((6, 5))}


@pytest.mark.parametrize("turned", [False, True])
def test_the_parts_of_a_gate_stand_for_it(turned: bool) -> None:
    sides = [(BOX, OF_BOX), (PARTS, OF_PARTS)]
    (a, of_a), (b, of_b) = sides[::-1] if turned else sides
    one, other = grouped(a, b, of_a, of_b)
    matches, transfer = matched(one, other, of_a, of_b)
    assert [(m.a and m.a.kind, m.b and m.b.kind) for m in matches] == [
        ("custom", "custom"),
        ("dense", "dense"),
    ]
    group = (matches[0].a if turned else matches[0].b) or BOX.nodes[0]
    assert is_group(group) and group.name == "product" and group.inputs == (INPUT,)
    assert group.attributes["class"] == "w + v + sigmoid + product"
    names = {"w": "w.weight", "v": "v.weight"}
    wanted = {v: k for k, v in names.items()} if turned else names
    assert wanted.items() <= transfer.names.items()
    assert orders(matches[0], of_a, of_b) == [
        (wanted, {}),
        (dict(zip(wanted, reversed(wanted.values()), strict=True)), {}),
    ]


def test_what_has_other_parameters_is_left_apart() -> None:
    of_box = OF_BOX | {"v": np.zeros((6, 4))}
    assert grouped(BOX, PARTS, of_box, OF_PARTS) == (BOX, PARTS)


def test_what_is_used_from_outside_is_left_apart() -> None:
    end = Node("sum", "add", ("product", "w"), (5,))
    out = Node("out", "dense", ("sum",), (1,), {}, DENSE)
    graph = Graph((6,), (*PARTS.nodes[:-1], end, out))
    a, b = grouped(BOX, graph, OF_BOX, OF_PARTS)
    groups = [node for node in b.nodes if is_group(node)]
    assert a == BOX and [node.name for node in groups] == ["sum"]  # Not the product alone.


def tower(number: int) -> list[Node]:
    """The layers of one of two towers that share their weights."""
    named = {"kernel": "conv", "bias": "b"}
    conv = Node(f"conv{number}", "conv", (INPUT,), (4, 4, 8), {}, named)
    pool = Node(f"pool{number}", "global_average_pool", (conv.name,), (8,))
    relus = [
        Node(f"relu{number}{i}", "activation", (f"relu{number}{i - 1}" if i else pool.name,), (8,))
        for i in range(5)
    ]
    return [
        conv,
        pool,
        *relus,
        Node(f"code{number}", "dense", (relus[-1].name,), (8,), {}, {"w": "w"}),
    ]


def test_towers_with_shared_weights_stand_for_a_whole_network() -> None:
    """Of outputs for a whole batch, such as similarities of all pairs, no shape is known."""
    box = Node(
        "model", "custom", (INPUT,), (1,), {"class": "Model"}, {"0": "k", "1": "b", "2": "w"}
    )
    product = Node("product", "custom", ("code1", "code2"), (7,), {"class": "matmul"})
    a, b = Graph((6, 6, 3), (box,)), Graph((6, 6, 3), (*tower(1), *tower(2), product))
    own = {"b": np.zeros(8), "w": np.zeros((8, 8))}
    of_a, of_b = own | {"k": np.zeros((8, 3, 3, 3))}, own | {"conv": np.zeros((3, 3, 3, 8))}
    one, other = grouped(a, b, of_a, of_b)
    assert one == a and [is_group(node) for node in other.nodes] == [True]
    _, transfer = matched(one, other, of_a, of_b)
    assert transfer.names == {"k": "conv", "b": "b", "w": "w"}
    assert transfer.turned == {"k": (2, 3, 1, 0)}  # (out, in, *window) to (*window, in, out).
    # Not in front of other layers, where the shape counts.
    out = Node("out", "dense", ("product",), (1,), {}, {"kernel": "out"})
    behind = Node("out", "dense", ("model",), (1,), {}, {"kernel": "out"})
    last = {"out": np.zeros((7, 1))}
    graphs = Graph((6, 6, 3), (box, behind)), Graph((6, 6, 3), (*b.nodes, out))
    assert not any(map(is_group, grouped(*graphs, of_a | last, of_b | last)[1].nodes))


def test_a_normalisation_that_one_side_writes_out_is_one_layer() -> None:
    scaled = {"gamma": "gain", "beta": "shift"}
    settings = {"epsilon": 1e-5, "axes": [-1]}
    out = Node("out", "dense", ("norm",), (1,), {}, DENSE)
    whole = Graph((5,), (Node("norm", "layer_norm", (INPUT,), (5,), settings, scaled), out))
    parts = Graph(
        (5,),
        (
            Node("mean", "custom", (INPUT,), (1,), {"class": "mean"}),
            Node("sub", "custom", (INPUT, "mean"), (5,), {"class": "sub"}),
            Node("gain", "custom", ("sub",), (5,), {"class": "mul"}, {"0": "g"}),
            Node("norm", "custom", ("gain",), (5,), {"class": "add"}, {"0": "s"}),
            out,
        ),
    )
    own = HEAD | {"gain": np.ones(5), "shift": np.zeros(5)}
    of_parts = HEAD | {"g": np.ones(5), "s": np.zeros(5)}
    a, b = grouped(whole, parts, own, of_parts)
    matches, transfer = matched(a, b, own, of_parts)
    assert [(m.a and m.a.kind, m.b and m.b.kind) for m in matches] == [
        ("layer_norm", "custom"), ("dense", "dense"),
    ]  # fmt: skip
    assert is_group(b.nodes[0]) and {"gain", "shift"} <= transfer.names.keys()
    assert len(orders(matches[0], own, of_parts)) == 2  # Outputs tell which is the scale.


def test_layers_with_a_counterpart_are_not_taken_together() -> None:
    more = Graph(
        (6,), (*PARTS.nodes[:-1], Node("relu", "activation", ("product",), (5,)), PARTS.nodes[-1])
    )
    assert grouped(PARTS, more, OF_PARTS, OF_PARTS) == (PARTS, more)


def test_unknown_layers_behind_a_box_go_with_it() -> None:
    """Keras' ``TimeDistributed`` twice, beside a convolution and a pool of all frames at once."""
    out = Node("out", "dense", ("pooled",), (1,), {}, DENSE)
    a = Graph(
        (4, 6, 6, 3),
        (
            Node("each", "custom", (INPUT,), (4, 6, 6, 5), {"class": "Frames"}, {"0": "k"}),
            Node("pooled", "custom", ("each",), (4, 5), {"class": "Frames"}),
            out,
        ),
    )
    b = Graph(
        (4, 6, 6, 3),
        (
            Node("frames", "custom", (INPUT,), (6, 6, 3), {"class": "reshape"}),
            Node("conv", "conv", ("frames",), (6, 6, 5), {}, {"kernel": "w"}),
            Node("pool", "global_average_pool", ("conv",), (5,)),
            Node("pooled", "custom", ("pool",), (4, 5), {"class": "view"}),
            out,
        ),
    )
    of_a, of_b = HEAD | {"k": np.zeros((1, 1, 3, 5))}, HEAD | {"w": np.zeros((1, 1, 3, 5))}
    for turned in (False, True):
        graphs = grouped(b, a, of_b, of_a)[::-1] if turned else grouped(a, b, of_a, of_b)
        assert [len(graph.nodes) for graph in graphs] == [2, 2]
        assert all(is_group(graph.nodes[0]) for graph in graphs)
        assert graphs[0].nodes[0].inputs == graphs[1].nodes[0].inputs == (INPUT,)


def test_a_known_layer_does_not_take_its_counterpart_and_more() -> None:
    """Beside a residual block in parts, a dense layer and a rearrangement stay what they are."""
    first = {"kernel": "first"}
    a = Graph(
        (6,),
        (
            Node("patches", "custom", (INPUT,), (6,), {"class": "Patches"}),
            Node("first", "dense", ("patches",), (5,), {}, first),
            Node("block", "custom", ("first",), (5,), {"class": "Block"}, {"0": "n", "1": "w"}),
            Node("out", "dense", ("block",), (1,), {}, DENSE),
        ),
    )
    b = Graph(
        (6,),
        (
            Node("order", "rearrange", (INPUT,), (6,), {"shape": [6], "steps": []}),
            Node("first", "dense", ("order",), (5,), {}, first),
            Node("norm", "layer_norm", ("first",), (5,), {}, {"gamma": "n"}),
            Node("w", "dense", ("norm",), (5,), {}, {"kernel": "w"}),
            Node("again", "layer_norm", ("w",), (5,), {}, {"gamma": "n"}),
            Node("sum", "add", ("first", "again"), (5,)),
            Node("out", "dense", ("sum",), (1,), {}, DENSE),
        ),
    )
    own = HEAD | {"first": np.zeros((6, 5)), "n": np.ones(5), "w": np.zeros((5, 5))}
    one, other = grouped(a, b, own, own)
    assert one == a
    assert [node.name for node in other.nodes] == ["order", "first", "sum", "out"]
    assert [node.name for node in other.nodes if is_group(node)] == ["sum"]


def test_a_group_does_not_take_the_end_of_the_layer_before() -> None:
    def block(number: int, before: str) -> list[Node]:
        named = {"kernel": f"w{number}"}
        dense = Node(f"dense{number}", "dense", (before,), (5,), {}, named)
        drop = Node(f"drop{number}", "dropout", (dense.name,), (5,), {"rate": 0.2})
        return [dense, drop, Node(f"sum{number}", "add", (before, drop.name), (5,))]

    boxes = [
        Node(f"box{i}", "custom", (before,), (5,), {"class": "Block"}, {"0": f"w{i}"})
        for i, before in ((1, INPUT), (2, "box1"))
    ]
    a, b = Graph((5,), tuple(boxes)), Graph((5,), (*block(1, INPUT), *block(2, "sum1")))
    own = {"w1": np.zeros((5, 5)), "w2": np.zeros((5, 5))}
    _, other = grouped(a, b, own, own)
    assert [node.attributes["class"] for node in other.nodes] == [
        "dense1 + drop1 + sum1", "dense2 + drop2 + sum2"
    ]  # fmt: skip
