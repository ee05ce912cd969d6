"""Matching graphs, and weights that go from one to the other and back."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.kinds.dense import reordered
from diptych.auditing.match import Transfer, align, simplified


def conv(name: str, before: str, padding: int = 1) -> Node:
    attributes = {
        "strides": [1, 1],
        "padding": [[padding, padding]] * 2,
        "dilation": [1, 1],
        "groups": 1,
    }
    return Node(name, "conv", (before,), (8, 8, 4), attributes, {"kernel": f"{name}/kernel"})


def activation(name: str, before: str, function: str = "relu") -> Node:
    return Node(name, "activation", (before,), (8, 8, 4), {"function": function, "slope": None})


def parameters(graph: Graph) -> dict[str, np.ndarray]:
    return {name: np.zeros((3, 3, 4, 4)) for n in graph.nodes for name in n.parameters.values()}


def matched(a: Graph, b: Graph) -> list[tuple[str | None, str | None]]:
    found = align(a, b, parameters(a), parameters(b))
    return [(m.a.name if m.a else None, m.b.name if m.b else None) for m in found]


def chain(*nodes: Node) -> Graph:
    return Graph((8, 8, 4), nodes)


def test_a_missing_layer_is_found_in_its_place():
    a = chain(conv("c1", INPUT), activation("r1", "c1"), conv("c2", "r1"), activation("r2", "c2"))
    b = chain(conv("d1", INPUT), conv("d2", "d1"), activation("s2", "d2"))
    assert matched(a, b) == [("c1", "d1"), ("r1", None), ("c2", "d2"), ("r2", "s2")]


def test_padding_of_its_own_joins_its_convolution():
    pad = Node("pad", "pad", (INPUT,), (10, 10, 4), {"padding": [[1, 1], [0, 2]]})
    graph, _ = simplified(chain(pad, conv("c", "pad", padding=0)))
    (node,) = graph.nodes
    assert node.attributes["padding"] == [[1, 1], [0, 2]]
    assert node.inputs == (INPUT,)


def test_a_last_softmax_is_the_losss_affair():
    graph, final = simplified(chain(conv("c", INPUT), activation("s", "c", "softmax")))
    assert final == "softmax"
    assert [node.name for node in graph.nodes] == ["c"]


def test_branches_of_a_sum_have_one_order():
    deep = [conv("main1", INPUT), activation("main2", "main1"), conv("main3", "main2")]
    short = [conv("short", INPUT)]
    total = Node("sum", "add", ("main3", "short"), (8, 8, 4))
    other = replace(total, inputs=("short", "main3"))
    one, _ = simplified(chain(*deep, *short, total))
    two, _ = simplified(chain(*short, *deep, other))
    assert [node.name for node in one.nodes] == [node.name for node in two.nodes]


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple),
    units=st.integers(1, 3),
)
def test_reordering_rows_is_what_flattening_otherwise_needs(shape, units):
    chance = np.random.default_rng(0)
    x = chance.normal(size=shape)
    kernel = chance.normal(size=(x.size, units))
    last, first = x.reshape(-1), np.moveaxis(x, -1, 0).reshape(-1)
    other = reordered(kernel, shape, "last", "first")
    np.testing.assert_allclose(first @ other, last @ kernel, atol=1e-12)
    np.testing.assert_array_equal(reordered(other, shape, "first", "last"), kernel)


def test_weights_come_back_as_they_went():
    def network(order: str, prefix: str) -> Graph:
        flatten = Node("f", "flatten", (INPUT,), (24,), {"order": order})
        dense = Node("d", "dense", ("f",), (5,), {}, {"kernel": f"{prefix}/kernel"})
        return Graph((2, 3, 4), (flatten, dense))

    a, b = network("last", "a"), network("first", "b")
    kernel = {"a/kernel": np.random.default_rng(0).normal(size=(24, 5))}
    own = {"b/kernel": np.zeros((24, 5))}
    transfer = Transfer.between(a, b, align(a, b, kernel, own), kernel, own)
    there = transfer.to_b(kernel)
    assert not np.array_equal(there["b/kernel"], kernel["a/kernel"])
    np.testing.assert_array_equal(transfer.to_a(there)["a/kernel"], kernel["a/kernel"])


def columns(name: str, start: int, kind: str = "slice") -> Node:
    return Node(name, kind, (INPUT,), (4,), {"slices": [[start, start + 4, 1]], "dropped": []})


def test_what_is_taken_out_twice_is_one_node() -> None:
    """Of the same input, with the same settings, without weights or random numbers of its own."""
    product = Node("product", "multiply", ("again", "other"), (4,))
    graph, _ = simplified(
        chain(columns("one", 0), columns("again", 0), columns("other", 4), product)
    )
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("one", (INPUT,)), ("other", (INPUT,)), ("product", ("one", "other"))
    ]  # fmt: skip
    for first, second in (
        (conv("c1", INPUT), replace(conv("c1", INPUT), name="c2")),
        (columns("one", 0, "custom"), columns("two", 0, "custom")),
        (Node("d1", "dropout", (INPUT,), (4,), {"rate": 0.5}),) * 2,
    ):
        second = replace(second, name="second")
        both = Node("sum", "add", (first.name, "second"), first.shape)
        assert len(simplified(chain(first, second, both))[0].nodes) == 3


def test_the_output_stays_though_it_is_computed_before() -> None:
    graph, _ = simplified(chain(columns("one", 0), columns("last", 0)))
    assert graph.nodes[-1].name == "last"
