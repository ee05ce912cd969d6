"""Recurrent layers, attention and token ids, as each framework's adapter reads them."""

# The frameworks' annotations say less than they take and give.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from diptych.auditing import reference
from diptych.auditing.findings import Reporter
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.frameworks.torch.combining import Combination
from diptych.auditing.graph import INPUT, Graph, Node
from diptych.auditing.kinds.recurrent import other_gate_order
from diptych.auditing.kinds.registry import kind_of
from diptych.auditing.match import Match
from diptych.auditing.naming import biases
from diptych.auditing.naming.paths import Difference
from diptych.auditing.probes import tokens
from diptych.auditing.probes.steps import Regime
from diptych.auditing.report import Audit

CHANCE = np.random.default_rng(0)
X = CHANCE.normal(size=(8, 9, 4)).astype(np.float32)
Y = np.zeros((8, 1), np.float32)


class Network(nn.Module):
    """A layer, what is taken of what it gives, and a dense layer."""

    def __init__(self, layer: nn.Module, take: Callable, width: int) -> None:
        super().__init__()
        self.layer, self.take, self.last = layer, take, nn.Linear(width, 1)

    def forward(self, x):
        return self.last(self.take(self.layer, x))


def adapter(
    layer: Callable[[], nn.Module], take: Callable, width: int, frozen: str = ""
) -> Adapter:
    def build(seed: int):
        torch.manual_seed(seed)
        network = Network(layer(), take, width)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not (frozen and frozen in name))
        sgd = torch.optim.SGD(network.parameters(), 0.1)
        return network, nn.MSELoss(), sgd, {"data": (X, Y)}

    return Adapter(build)


def lstm(**settings):
    return lambda: nn.LSTM(4, 6, batch_first=True, **settings)


def gru(**settings):
    return lambda: nn.GRU(4, 6, batch_first=True, **settings)


def both_states(layer, x):
    state = layer(x)[1]
    return torch.cat((state[-2], state[-1]), dim=1)


def turned(layer, x):
    return layer(x.permute(1, 0, 2))[0][-1]


def stepwise(layer, x):
    x = x.transpose(0, 1)
    return layer(x, x, x)[0].transpose(0, 1).flatten(1)


FORMS = {
    "the last step": (lstm(), lambda m, x: m(x)[0][:, -1], 6, ["lstm state"]),
    "the last state": (lstm(), lambda m, x: m(x)[1][0][-1], 6, ["lstm state"]),
    "the squeezed state": (gru(), lambda m, x: m(x)[1].squeeze(0), 6, ["gru state"]),
    "the last step and the last state": (
        lstm(), lambda m, x: (lambda y, s: y[:, -1] * s[0][-1])(*m(x)), 6,
        ["lstm state", "multiply"],
    ),
    "the last cell state": (lstm(), lambda m, x: m(x)[1][1].squeeze(0), 6, ["lstm cell"]),
    "all steps": (gru(), lambda m, x: m(x)[0].flatten(1), 54, ["gru sequence", "flatten"]),
    "both last states": (gru(bidirectional=True), both_states, 12, ["gru state"]),
    "the last step of both": (
        gru(bidirectional=True), lambda m, x: m(x)[0][:, -1, :], 12, ["gru step"],
    ),
    "two layers": (
        lstm(num_layers=2), lambda m, x: m(x)[1][0][-1], 6, ["lstm sequence", "lstm state"],
    ),
    "two layers with dropout": (
        gru(num_layers=2, dropout=0.5), lambda m, x: m(x)[0][:, -1], 6,
        ["gru sequence", "dropout", "gru state"],
    ),
    "batch_first forgotten": (
        lambda: nn.LSTM(4, 6), lambda m, x: m(x)[0][:, -1], 6, ["lstm sequence", "slice"],
    ),
    "batch_first forgotten in two layers": (
        lambda: nn.GRU(4, 6, num_layers=2), lambda m, x: m(x)[0].flatten(1), 54,
        ["gru sequence", "gru sequence", "flatten"],
    ),
    "steps in front": (lambda: nn.RNN(4, 6, nonlinearity="relu"), turned, 6, ["simple_rnn state"]),
    "attention": (
        lambda: nn.MultiheadAttention(4, 2, batch_first=True),
        lambda m, x: m(x, x, x, need_weights=False)[0].flatten(1), 36,
        ["multi_head_attention", "flatten"],
    ),
    "attention over the batch": (
        lambda: nn.MultiheadAttention(4, 2), lambda m, x: m(x, x, x)[0].flatten(1), 36,
        ["multi_head_attention", "flatten"],
    ),
    "attention with steps in front": (
        lambda: nn.MultiheadAttention(4, 2), stepwise, 36, ["multi_head_attention", "flatten"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_pytorchs_layers_are_read_as_they_are_used(form: str) -> None:
    layer, take, width, kinds = FORMS[form]
    side = adapter(layer, take, width)
    nodes = side.graph().nodes
    read = [f"{n.kind} {n.attributes.get('returns', '')}".strip() for n in nodes]
    assert read == [*kinds, "dense"]
    own = side.parameters()
    side.load(own)
    for name, value in side.parameters().items():
        np.testing.assert_allclose(value, own[name], rtol=1e-6)
    record = side.record(X, False) | {INPUT: X}
    distances = reference.check(side.graph(), own, record, False)
    assert len(distances) == len(nodes)
    assert all(distance.ratio <= 1 for distance in distances.values()), distances


@pytest.mark.parametrize(
    ("layer", "take", "width"),
    [
        (lambda **first: nn.GRU(4, 6, **first), lambda m, x: m(x)[0].flatten(1), 54),
        (
            lambda **first: nn.MultiheadAttention(4, 2, **first),
            lambda m, x: m(x, x, x)[0].flatten(1),
            36,
        ),
    ],
    ids=["GRU", "attention"],
)
def test_a_layer_over_the_batch_differs_from_one_over_the_steps(
    layer: Callable, take: Callable, width: int
) -> None:
    over, steps = (
        adapter(lambda first=first: layer(**first), take, width).graph().nodes[0]
        for first in ({}, {"batch_first": True})
    )
    shapes = dict.fromkeys(steps.parameters, (6, 18))
    [difference] = kind_of(steps).differences(steps, over, shapes, shapes)
    assert difference.code == "axis"
    assert "batch_first" in difference.b and "batch_first" not in difference.a
    assert not kind_of(over).differences(over, over, shapes, shapes)


WORDS = CHANCE.integers(1, 30, (8, 9))
WORDS[np.arange(9) >= 9 - np.arange(8)[:, None]] = 0
"""Texts of several lengths, with zeros behind them."""
pack, unpack = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence


class Packing(nn.Module):
    """Texts that are packed before a recurrent layer."""

    def __init__(self, layer: nn.Module, take: Callable, width: int, full: bool) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(30, 4), layer
        self.take, self.last, self.full = take, nn.Linear(width, 1), full

    def forward(self, ids):
        lengths = (ids != 0).sum(1) if self.full else torch.full((len(ids),), 5)
        packed = pack(self.table(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.last(self.take(self.layer, packed))


def whole_sequence(layer, packed):
    return unpack(layer(packed)[0], batch_first=True)[0].flatten(1)


def packing(layer, take: Callable, width: int, full: bool = True) -> Adapter:
    def build(seed: int):
        torch.manual_seed(seed)
        network = Packing(layer(), take, width, full)
        sgd = torch.optim.SGD(network.parameters(), 0.1)
        return network, nn.MSELoss(), sgd, {"data": (WORDS, Y)}

    return Adapter(build)


@pytest.mark.parametrize(
    ("layer", "take", "width", "kind"),
    [
        (lstm(), lambda m, x: m(x)[1][0][-1], 6, "lstm state"),
        (gru(bidirectional=True), both_states, 12, "gru state"),
        (lstm(), whole_sequence, 54, "lstm sequence"),
    ],
)
def test_packed_sequences_skip_the_steps_where_the_input_is_zero(
    layer, take, width: int, kind: str
) -> None:
    side = packing(layer, take, width)
    node = side.graph().nodes[1]
    assert f"{node.kind} {node.attributes['returns']}" == kind
    assert node.inputs == ("table", INPUT) and node.attributes["masked"]
    own, record = side.parameters(), side.record(WORDS, False) | {INPUT: WORDS}
    distance = reference.check(side.graph(), own, record, False)[node.name]
    assert distance.ratio <= 1
    unmasked = replace(node, attributes=node.attributes | {"masked": False})
    assert reference.ratios([unmasked], own, record, False)[0] > 1


def test_sequences_of_other_lengths_are_a_black_box_as_a_whole() -> None:
    side = packing(lstm(), lambda m, x: m(x)[1][0][-1], 6, full=False)
    assert [node.kind for node in side.graph().nodes] == ["custom"]


def test_packed_layers_on_one_another_are_a_black_box_as_a_whole() -> None:
    side = packing(lstm(num_layers=2), lambda m, x: m(x)[1][0][-1], 6)
    assert [node.kind for node in side.graph().nodes] == ["custom"]


@pytest.mark.parametrize(("frozen", "factor"), [("", 2.0), ("bias_hh", 1.0)])
def test_two_biases_move_as_one_that_moves_twice_as_far(frozen: str, factor: float) -> None:
    layer, take, width, _ = FORMS["the last step"]
    side = adapter(layer, take, width, frozen)
    before = side.parameters()
    _, gradients = side.loss_and_gradients(X, Y)
    assert gradients.keys() == before.keys()
    (after,) = side.updates([gradients])
    for name, times in (("layer.bias_l0", factor), ("layer.weight_ih_l0", 1.0)):
        moved, expected = after[name] - before[name], -0.1 * times * gradients[name]
        np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("form", ["the last step", "both last states", "attention"])
def test_gradients_of_combined_parameters_agree_with_finite_differences(form: str) -> None:
    twin = adapter(*FORMS[form][:3]).twin()
    own, (_, gradients) = twin.parameters(), twin.loss_and_gradients(X, Y)
    for name in [name for name in own if name.startswith("layer")]:
        index, losses = own[name].size // 2, []
        for step in (1e-5, -1e-5):
            moved = own[name].copy()
            moved.ravel()[index] += step
            twin.load(own | {name: moved})
            losses.append(twin.loss_and_gradients(X, Y)[0])
        slope = (losses[0] - losses[1]) / 2e-5
        assert gradients[name].ravel()[index] == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def test_a_block_of_rows_leaves_the_others_as_they_are() -> None:
    whole = CHANCE.normal(size=(6, 3))
    block = Combination(("w",), rows=(2, 4), transposed=True, label="key")
    assert block.name == "w[key]"
    np.testing.assert_array_equal(block.to_graph({"w": whole}), whole[2:4].T)
    parts = block.from_graph(np.ones((3, 2)), lambda name: whole)
    np.testing.assert_array_equal(parts["w"][2:4], 1)
    np.testing.assert_array_equal(parts["w"][[0, 1, 4, 5]], whole[[0, 1, 4, 5]])


def test_gates_in_another_order_are_recognised() -> None:
    kernel = CHANCE.normal(size=(3, 8))
    other = kernel[:, [0, 1, 2, 3, 6, 7, 4, 5]]
    order = other_gate_order("lstm", kernel, other)
    assert order == "input, forget, output, proposed state"
    assert other_gate_order("lstm", kernel, CHANCE.normal(size=(3, 8))) is None


def test_token_ids_are_drawn_within_the_vocabulary_and_padded() -> None:
    node = Node("e", "custom", (INPUT,), (6, 3), {"class": "Embedding"}, {"0": "table"})
    graph = Graph((6,), (node,))
    ids = tokens.drawn(graph, {"table": np.zeros((50, 3))}, 32, CHANCE)
    assert ids is not None and ids.dtype == np.int64 and ids.shape == (32, 6)
    assert ids.min() == 0 and 40 < ids.max() < 50
    behind = [int(np.argmax(row[::-1] != 0)) for row in ids]
    assert len(set(behind)) > 2, "rows are padded to several lengths"
    assert tokens.drawn(Graph((6,), ()), {}, 4, CHANCE) is None


def test_an_embedding_without_data_is_given_token_ids() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.Embedding(20, 4), nn.Linear(24, 2)

        def forward(self, x):
            return self.last(self.table(x).flatten(1))

    def build(seed: int):
        network = Words()
        return network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), 0.1)

    side = Adapter(build)
    assert side.graph().input_shape == (6,)
    y = side.record(np.full((3, 6), 19), False)
    assert y[side.graph().nodes[-1].name].shape == (3, 2)


@pytest.mark.parametrize(("factor", "both"), [(2.0, "b"), (0.5, "a"), (3.0, "")])
def test_two_biases_that_are_both_trained_are_named(factor: float, both: str) -> None:
    roles = {"kernel": "k", "bias": "b"}
    node = Node("lstm", "lstm", (INPUT,), (6,), {}, roles)
    pair = SimpleNamespace(matches=[Match(node, node)])
    regime = Regime("from 1e-9 to 1e-2", (-9, -2), 4)
    path = np.cumsum(CHANCE.normal(size=(5, 3)), axis=0)
    paths = {"a": {"b": path}, "b": {"b": factor * path}}
    differences = [Difference(regime, 1, "b", paths, 0)]
    report = Reporter(Audit("a.py", "b.py", ("Keras", "PyTorch")), "update")
    rest = biases.explain(pair, differences, report)
    if not both:
        assert rest == differences and not report.audit.findings
        return
    (finding,) = report.audit.findings
    assert finding.code == "learning-rate" and not rest
    assert getattr(finding, both).startswith("two biases")


def onnx_file(path: Path, operator: str, returns: str, **settings) -> dict:
    """A file with one recurrent layer; gives its weights as ONNX has them."""
    from onnx import TensorProto, helper, numpy_helper, save

    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    sizes = {"W": (1, gates * 6, 4), "R": (1, gates * 6, 6), "B": (1, gates * 12)}
    weights = {k: CHANCE.normal(0, 0.5, v).astype(np.float32) for k, v in sizes.items()}
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    place = 1 if returns == "sequence" else 0
    stored.append(numpy_helper.from_array(np.array([place]), "axis"))
    outputs, shape = ["y", "h", "c"][: 3 if operator == "LSTM" else 2], ["n", 9, 6]
    taken = outputs[["sequence", "state", "cell"].index(returns)]
    shape = shape if place else ["n", 6]
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(operator, ["steps", *weights], outputs, hidden_size=6, **settings),
        helper.make_node("Squeeze", [taken, "axis"], ["squeezed" if place else "out"]),
    ]
    if place:
        nodes.append(helper.make_node("Transpose", ["squeezed"], ["out"], perm=[1, 0, 2]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in (("x", ["n", 9, 4]), ("out", shape))
    ]
    graph = helper.make_graph(nodes, "recurrent", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save(model, path)
    return weights


@pytest.mark.parametrize(
    ("operator", "settings", "returns"),
    [
        (operator, settings, returns)
        for operator, settings in (
            ("LSTM", {}),
            ("LSTM", {"direction": "reverse"}),
            ("GRU", {}),
            ("GRU", {"linear_before_reset": 1}),
            ("RNN", {"activations": ["Relu"]}),
        )
        for returns in ("sequence", "state", "cell")
        if returns != "cell" or operator == "LSTM"
    ],
)
def test_onnx_layers_are_what_their_nodes_say(
    tmp_path: Path, operator: str, settings: dict, returns: str
) -> None:
    pytest.importorskip("onnxruntime")
    from diptych.auditing.frameworks.onnx.adapter import Adapter as OnnxAdapter

    onnx_file(tmp_path / "layer.onnx", operator, returns, **settings)
    side = OnnxAdapter(tmp_path / "layer.onnx")
    (node,) = side.graph().nodes
    assert node.attributes["returns"] == returns
    own = {k: v + np.float32(0.1) for k, v in side.parameters().items()}
    side.load(own)
    for name, value in side.parameters().items():
        np.testing.assert_allclose(value, own[name], rtol=1e-6)
    record = side.record(X, False) | {INPUT: X}
    assert reference.check(side.graph(), own, record, False)[node.name].ratio <= 1
