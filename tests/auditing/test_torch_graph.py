"""The graph that is read from a PyTorch module, against NumPy, SciPy and PyTorch itself."""

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_modules
from scipy.signal import correlate
from torch import nn
from torch_modules import RNG, close, images, line, side, small

from diptych.auditing import reference
from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.graph import Node
from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import KINDS
from diptych.errors import InputError


def nodes(model: Adapter) -> dict[str, Node]:
    graph = model.graph()
    for node in graph.nodes:
        assert has_attributes(node, KINDS[node.kind]), node
    return {node.name: node for node in graph.nodes}


def kinds(model: Adapter) -> list[str]:
    return [node.kind for node in model.graph().nodes]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.shift = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.out = nn.Parameter(0.1 * torch.randn(3 * 7 * 7, 10))
        self.register_buffer("mean", torch.tensor(0.1307))

    def forward(self, x):
        x = (x - self.mean) / 0.5
        x = F.leaky_relu(self.first(x), 0.3)  # the slope
        x = x + (self.second(x) + self.shift)
        x = F.max_pool2d(x, 4)
        return x.view(x.size(0), -1) @ self.out


def test_a_sequential_module_is_read_as_its_layers() -> None:
    model = side(small)
    assert model.framework.startswith("PyTorch 2.")
    graph = model.graph()
    assert graph.input_shape == (28, 28, 1)
    assert [(node.name, node.kind, node.shape) for node in graph.nodes] == [
        ("0", "conv", (13, 13, 4)),
        ("1", "batch_norm", (13, 13, 4)),
        ("2", "activation", (13, 13, 4)),
        ("3", "dropout", (13, 13, 4)),
        ("4", "flatten", (676,)),
        ("5", "dense", (10,)),
    ]
    convolution, norm, *_, flatten, dense = graph.nodes
    assert convolution.inputs == ("input",) and norm.inputs == ("0",)
    assert convolution.attributes == {
        "strides": [2, 2],
        "padding": [[0, 0], [0, 0]],
        "dilation": [1, 1],
        "groups": 1,
    }
    assert convolution.where == line(torch_modules.__file__, "nn.Conv2d(1, 4, 3, stride=2)")
    assert norm.attributes["momentum"] == 0.9 and norm.attributes["unbiased"]
    assert norm.parameters["variance"] == "1.running_var"
    assert flatten.attributes == {"order": "first"}
    assert dense.parameters == {"kernel": "5.weight", "bias": "5.bias"}
    assert graph == type(graph).from_dict(graph.to_dict())


def test_functional_calls_are_nodes_with_their_lines() -> None:
    model = side(Functional)
    found = nodes(model)
    assert " ".join(found) == ("sub_1 first leaky_relu_1 second add_1 max_pool2d_1 view_1 matmul_1")
    assert found["leaky_relu_1"].attributes == {"function": "leaky_relu", "slope": 0.3}
    assert found["leaky_relu_1"].where == line(__file__, "# the slope")
    assert found["second"].parameters == {"kernel": "second.weight", "bias": "shift"}
    assert found["add_1"].inputs == ("leaky_relu_1", "second")
    close(found["sub_1"].attributes["scale"], 2.0)
    close(found["sub_1"].attributes["offset"], -0.1307 * 2)
    parameters = model.parameters()
    assert parameters["shift"].shape == (3,) and parameters["out"].shape == (147, 10)
    assert "mean" not in parameters
    # What was merged from two calls runs again as one.
    x = images()
    record = model.record(x, False)
    close(model.run_node("second", [record["leaky_relu_1"]], False), record["second"])
    close(model.run_node("sub_1", [x], False), record["sub_1"])


@pytest.mark.parametrize(
    ("layer", "attributes"),
    [
        (nn.Conv2d(1, 2, 4, padding="same"), {"padding": [[1, 2], [1, 2]]}),
        (nn.Conv2d(1, 2, 3, padding=2, dilation=2), {"padding": [[2, 2]] * 2, "dilation": [2, 2]}),
        (nn.MaxPool2d(3, 2, ceil_mode=True), {"strides": [2, 2], "padding": [[0, 1], [0, 1]]}),
        (nn.MaxPool2d(3, 2, padding=1), {"size": [3, 3], "padding": [[1, 1], [1, 1]]}),
        (nn.AvgPool2d(3, 2, padding=1), {"count_padding": True, "padding": [[1, 1]] * 2}),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), {"count_padding": False}),
        (nn.AvgPool2d(2), {"count_padding": False, "padding": [[0, 0]] * 2}),
        (nn.ZeroPad2d((1, 2, 3, 4)), {"padding": [[3, 4], [1, 2]]}),
        (nn.ELU(0.7), {"function": "elu", "slope": 0.7}),
        (nn.GELU("tanh"), {"function": "gelu_tanh", "slope": None}),
        (nn.ReLU6(), {"function": "relu6"}),
        (nn.Softmax(1), {"function": "softmax"}),
        (nn.Softmax(2), {"function": "softmax", "axis": -3}),
        (nn.Softmax(0), {"function": "softmax", "axis": -4}),
        (nn.Hardswish(), {"function": "hard_swish", "slope": None}),
        (nn.Hardsigmoid(), {"function": "hard_sigmoid", "slope": 1 / 6}),
        (nn.Mish(), {"function": "mish"}),
        (nn.CELU(0.7), {"function": "celu", "slope": 0.7}),
        (nn.SELU(), {"function": "selu"}),
        (nn.Softplus(2), {"function": "softplus", "slope": 2.0}),
        (nn.Softsign(), {"function": "softsign"}),
        (nn.LogSigmoid(), {"function": "log_sigmoid"}),
        (nn.Tanhshrink(), {"function": "tanh_shrink"}),
        (nn.Hardshrink(0.3), {"function": "hard_shrink", "slope": 0.3}),
        (nn.Softshrink(0.3), {"function": "soft_shrink", "slope": 0.3}),
        (nn.Hardtanh(-0.2, 0.3), {"function": "clip", "limits": [-0.2, 0.3]}),
        (nn.Threshold(0.1, -1), {"function": "threshold", "limits": [0.1, -1.0]}),
        (nn.SiLU(), {"function": "silu"}),
        (nn.LogSoftmax(1), {"function": "log_softmax"}),
        (nn.GLU(2), {"axis": -3}),
        (nn.PReLU(), {}),
        (nn.GroupNorm(1, 1), {"groups": 1, "epsilon": 1e-5}),
        (nn.InstanceNorm2d(1), {"groups": 1}),
    ],
    ids=repr,
)
def test_what_a_layer_does(layer: nn.Module, attributes: dict[str, Any]) -> None:
    model = side(lambda: nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(10)))
    node = model.graph().nodes[0]
    assert node.kind != "custom" and node.attributes.items() >= attributes.items()
    x = images()
    expected = layer(torch.tensor(x).movedim(-1, 1)).movedim(1, -1).detach().numpy()
    assert node.shape == expected.shape[1:]
    close(model.record(x, False)["0"], expected)
    close(model.run_node("0", [x], False), expected)


def test_normalisations_of_channels_in_front() -> None:
    model = side(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 26, 26]), nn.RMSNorm(26, 1e-3), nn.PReLU(2),
            nn.Flatten(), nn.LazyLinear(10),
        )
    )  # fmt: skip
    found, x = nodes(model), images()
    assert found["1"].attributes == {"epsilon": 1e-5, "axes": [-3, -2, -1]}
    assert found["2"].attributes == {"epsilon": 1e-3, "axes": [-2]}
    assert model.parameters()["1.weight"].shape == (26, 26, 2)
    before, chance = model.record(x, False), RNG.normal(size=(26, 26, 2)).astype(np.float32)
    model.load({"1.weight": chance})
    np.testing.assert_array_equal(model.parameters()["1.weight"], chance)
    record = model.record(x, False)
    close(record["1"], before["1"] * chance)
    for name in ("1", "2", "3"):
        distance = reference.distance(found[name], model.parameters(), record, False)
        assert distance.ratio <= 1


@pytest.mark.parametrize(("dim", "axes"), [(0, [-4]), (1, [-1]), (-1, [-2]), ((2, 3), [-3, -2])])
def test_a_division_by_a_norm_is_read_with_its_axes(dim: Any, axes: list[int]) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 2, 3), nn.LazyLinear(10)

        def forward(self, x):
            return self.last(F.normalize(self.first(x), dim=dim).flatten(1))

    model, x = side(Network), images()
    node = nodes(model)["normalize_1"]
    assert (node.kind, node.attributes) == ("unit_norm", {"axes": axes})
    record = model.record(x, False)
    assert reference.distance(node, model.parameters(), record, False).ratio <= 1


def test_a_node_with_several_rows_for_each_example_is_run() -> None:
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(28, 4), nn.Linear(4, 10)

        def forward(self, x):
            n = len(x)
            y = self.first(x.reshape(n * 28, 28))
            return self.last(y.view(n, 28, -1).mean(1))

    model, x = side(Frames), images()
    record = model.record(x, False)
    assert record["first"].shape == (6 * 28, 4)
    for count in (6, 3):
        y = model.run_node("view_1", [record["first"][: count * 28]], False)
        np.testing.assert_array_equal(y, record["view_1"][:count])


def test_what_networks_scale_and_shift_by_is_read() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(28, 4)
            self.scale = nn.Parameter(torch.full((4,), 0.1))
            self.positions = nn.Parameter(torch.randn(1, 28, 4))
            self.last = nn.Linear(4, 10)

        def forward(self, x):
            x = self.first(x.reshape(-1, 28, 28)) * self.scale + self.positions
            return self.last(F.relu(x) * torch.sigmoid(x)).mean(1)

    model = side(Block)
    kinds = [node.kind for node in nodes(model).values()]
    assert kinds[1:5] == ["dense", "learned_scale", "learned_offset", "activation"]
    assert kinds[5:8] == ["activation", "multiply", "dense"]
    assert model.parameters()["positions"].shape == (28, 4)


def test_kernels_are_turned_to_the_graphs_layout() -> None:
    model = side(lambda: nn.Sequential(nn.Conv2d(1, 4, (3, 2)), nn.Flatten(), nn.LazyLinear(10)))
    parameters = model.parameters()
    kernel, x = parameters["0.weight"], images()
    assert kernel.shape == (3, 2, 1, 4)
    record = model.record(x, False)
    for channel in range(4):
        plane = correlate(x[0, :, :, 0], kernel[:, :, 0, channel], "valid")
        close(record["0"][0, :, :, channel], plane + parameters["0.bias"][channel])
    dense = record["1"] @ parameters["2.weight"] + parameters["2.bias"]
    close(record["2"], dense, 1e-4)


def test_parameters_that_are_loaded_are_those_that_are_given() -> None:
    model = side(small)
    given = {name: RNG.random(a.shape, np.float32) for name, a in model.parameters().items()}
    model.load(given)
    assert all((array == given[name]).all() for name, array in model.parameters().items())
    with pytest.raises(InputError, match="no parameter `x`"):
        model.load({"x": np.zeros(1)})
    with pytest.raises(InputError, match=r"5.bias was given the shape \(3,\): it has \(10,\)"):
        model.load({"5.bias": np.zeros(3)})


def test_the_last_node_is_the_modules_output() -> None:
    modules: list[nn.Module] = []

    def module() -> nn.Module:
        modules.append(small())
        return modules[-1]

    model = side(module)
    x = images()
    record = model.record(x, False)
    expected = modules[0].eval()(torch.tensor(x).movedim(-1, 1)).detach().numpy()
    close(record["5"], expected)
    assert set(record) == {node.name for node in model.graph().nodes}


@pytest.mark.parametrize(
    ("reshape", "order", "flattens"),
    [
        (lambda x: x.flatten(1), "first", 1),
        (lambda x: x.reshape(len(x), -1), "first", 1),
        (lambda x: x.permute(0, 2, 3, 1).flatten(1), "last", 1),
        (lambda x: x.movedim(1, -1).reshape(x.shape[0], -1), "last", 1),
        (lambda x: x.mean((2, 3), keepdim=True).flatten(1), None, 0),
        (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1), None, 0),
        (lambda x: x[:, :1].flatten(1), "last", 1),
    ],
)
def test_the_order_of_flatten(reshape: Any, order: str | None, flattens: int) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 3, 5), nn.LazyLinear(10)

        def forward(self, x):
            return self.out(reshape(self.conv(x)))

    model = side(Network)
    found = [node for node in model.graph().nodes if node.kind == "flatten"]
    assert len(found) == flattens
    assert all(node.attributes["order"] == order for node in found)
    record = model.record(images(), False)
    if flattens:
        before = record[found[0].inputs[0]]
        moved = np.moveaxis(before, -1, 1) if order == "first" else before
        close(record[found[0].name], moved.reshape(len(before), -1))
    else:
        assert kinds(model) == ["conv", "global_average_pool", "dense"]
        close(record[model.graph().nodes[1].name], record["conv"].mean((1, 2)))


def test_a_residual_network_with_a_gate_and_concatenation() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
            self.act = nn.ReLU(inplace=True)
            self.out = nn.Linear(8, 10)

        def forward(self, x):
            x = self.act(self.first(x))
            y = x * self.gate(x)
            x = self.act(x.clone())
            return self.out(torch.cat([x, y], 1).amax((2, 3)))

    model = side(Network)
    found = nodes(model)
    assert [(node.name, node.kind) for node in found.values()] == [
        ("first", "conv"),
        ("act", "activation"),
        ("gate.0", "global_average_pool"),
        ("gate.0_2", "reshape"),
        ("gate.1", "conv"),
        ("gate.2", "activation"),
        ("mul_1", "multiply"),
        ("act_2", "activation"),
        ("cat_1", "concatenate"),
        ("amax_1", "global_max_pool"),
        ("out", "dense"),
    ]
    assert found["cat_1"].inputs == ("act_2", "mul_1")
    record = model.record(images(), True)
    for node in found.values():
        inputs = [record[name] for name in node.inputs if name != "input"]
        if inputs:
            close(model.run_node(node.name, inputs, True), record[node.name])
    assert (record["first"] < 0).any()  # Kept as it was before the activation in place.


def test_one_dimensional_convolutions_and_sequences() -> None:
    model = side(
        lambda: nn.Sequential(nn.Conv1d(1, 4, 5), nn.MaxPool1d(2), nn.Flatten(), nn.LazyLinear(10))
    )
    assert model.graph().input_shape == (784, 1)
    assert model.graph().nodes[0].shape == (780, 4)
    assert model.graph().nodes[2].attributes == {"order": "first"}

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(28, 8, batch_first=True), nn.Linear(8, 10)

        def forward(self, x):
            y, _ = self.lstm(x)
            return self.out(y.mean(1))

    model = side(Recurrent)
    assert model.graph().input_shape == (28, 28)
    assert kinds(model) == ["lstm", "global_average_pool", "dense"]
    found = nodes(model)["lstm"]
    assert list(found.parameters) == ["kernel", "recurrent_kernel", "bias"]
    assert found.shape == (28, 8)
    x = images()[..., 0]
    close(model.run_node("lstm", [x], False), model.record(x, False)["lstm"])


def test_layers_of_ones_own_are_black_boxes() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * torch.erf(self.beta * x)

    class Known(nn.Module):
        def forward(self, x):
            return F.leaky_relu(x, 0.2)  # a known one

    model = side(lambda: nn.Sequential(nn.Linear(784, 5), Gate(), Known(), nn.Linear(5, 10)))
    found = nodes(model)
    assert list(found) == ["0", "1", "2.leaky_relu_1", "3"]
    assert found["1"].kind == "custom" and found["1"].attributes == {"class": "Gate"}
    assert found["1"].parameters == {"0": "1.beta"}
    assert found["2.leaky_relu_1"].where == line(__file__, "# a known one")
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    expected = x * torch.erf(torch.tensor(x)).numpy()
    close(model.run_node("1", [x], True), expected)


def test_what_no_call_is_seen_of_is_a_black_box() -> None:
    class Round(nn.Module):
        def forward(self, x):
            return torch.from_numpy(np.round(x.detach().numpy(), 1))

    model = side(lambda: nn.Sequential(nn.Linear(784, 5), Round(), nn.Linear(5, 10)))
    assert [(node.name, node.kind) for node in model.graph().nodes] == [
        ("0", "dense"),
        ("1", "custom"),
        ("2", "dense"),
    ]
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    close(model.run_node("1", [x], False), np.round(x, 1))
    assert model.graph().nodes[1].inputs == ("0",)


def test_control_flow_by_data() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(784, 10), nn.Linear(10, 10)

        def forward(self, x):
            x = self.a(x.flatten(1))
            return self.b(x) if x.sum() < 1e9 else x

    assert kinds(side(Network)) == ["flatten", "dense", "dense"]


def test_lower_precision_inside_the_module() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(784, 10)

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return self.out(x.flatten(1))

    model = side(Mixed)
    record = model.record(images(), True)
    assert record["out"].dtype == np.float32
    assert (record["out"] == torch.tensor(record["out"]).bfloat16().float().numpy()).all()
    loss, gradients = model.loss_and_gradients(images(), np.arange(6))
    assert loss > 0 and gradients["out.weight"].shape == (784, 10)

    whole = side(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).bfloat16())
    assert whole.record(images(), False)["1"].dtype == np.float32
    double = side(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double())
    assert double.record(images(), False)["1"].dtype == np.float64


def test_a_constant_in_front_of_a_call_is_not_given_the_calls_numbers() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(784, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            mask = torch.arange(784) % 2 == 0
            return self.dense(torch.where(mask, x.flip(-1), x))

    model, x = side(Masked), images()
    record = model.record(x, True)
    for node in model.graph().nodes:
        inputs = [x if name == "input" else record[name] for name in node.inputs]
        close(model.run_node(node.name, inputs, True), record[node.name])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 8)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(torch.relu(self.words(x).mean(1)))


def test_a_tied_weight_has_one_name() -> None:
    def build(_: int) -> Any:
        module = Tied()
        data = RNG.integers(0, 12, (8, 5)), RNG.integers(0, 12, 8)
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        return module, nn.CrossEntropyLoss(), optimizer, {"data": data}

    model = Adapter(build)
    assert list(model.parameters()) == ["words.weight"]
    users = [node.name for node in model.graph().nodes if node.parameters]
    assert users == ["words", "head"]
    names = {name for node in model.graph().nodes for name in node.parameters.values()}
    assert names == {"words.weight"}


class DroppedAtRandom(nn.Module):
    """Leaves out each of two layers in nearly half of its runs."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self.draw = draw
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        for layer in (self.first, self.second):
            if not self.training or self.draw() > 0.45:
                x = x + torch.relu(layer(x))
        return self.last(x)


@pytest.mark.parametrize("draw", [lambda: torch.rand(1).item(), random.random, np.random.rand])
def test_layers_that_are_left_out_at_random_are_read(draw: Any) -> None:
    for number in range(6):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002
        torch.manual_seed(number)

        def build(_: int) -> Any:
            module = DroppedAtRandom(draw)
            data = RNG.standard_normal((8, 6)).astype(np.float32), RNG.integers(0, 2, 8)
            optimizer = torch.optim.SGD(module.parameters(), 0.1)
            return module, nn.CrossEntropyLoss(), optimizer, {"data": data}

        model = Adapter(build)
        before = draw_state()
        dense = [node.name for node in model.graph().nodes if node.kind == "dense"]
        assert dense == ["first", "second", "last"]
        assert draw_state() == before


def draw_state() -> str:
    numbers = torch.get_rng_state().numpy().tobytes()
    return repr((random.getstate(), repr(np.random.get_state()), numbers))  # noqa: NPY002
