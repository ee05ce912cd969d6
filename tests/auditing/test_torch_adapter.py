"""The PyTorch adapter: what it reads from a module, against NumPy, SciPy and PyTorch itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import correlate
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from diptych.auditing.frameworks.torch.adapter import Adapter
from diptych.auditing.graph import Node
from diptych.auditing.kinds.registry import KINDS
from diptych.errors import InputError

RNG = np.random.Generator(np.random.Philox(7))
HERE = Path(__file__)


def side(
    module: Callable[[], nn.Module],
    loss: Any = None,
    optimizer: Callable[..., Any] = torch.optim.SGD,
    extras: Callable[..., dict[str, Any]] | None = None,
    **settings: Any,
) -> Adapter:
    """A side whose function makes its parts anew at every call."""

    def build(seed: int) -> Any:
        network = module()
        steps = optimizer(network.parameters(), **({"lr": 0.1} | settings))
        parts = network, loss or nn.CrossEntropyLoss(), steps
        return (*parts, extras(*parts)) if extras else parts

    return Adapter(build)


def fed(*shape: int, classes: int = 10) -> Callable[..., dict[str, Any]]:
    """Extras with data of a shape."""
    x = RNG.normal(size=(8, *shape)).astype(np.float32)
    return lambda *parts: {"data": (x, np.arange(8) % classes)}


def nodes(model: Adapter) -> dict[str, Node]:
    graph = model.graph()
    for node in graph.nodes:
        assert set(node.attributes) == set(KINDS[node.kind].attributes), node
    return {node.name: node for node in graph.nodes}


def kinds(model: Adapter) -> list[str]:
    return [node.kind for node in model.graph().nodes]


def line(text: str) -> str:
    """Where a piece of text stands in this file for the first time."""
    lines = HERE.read_text().splitlines()
    return f"{HERE.name}:{next(i for i, code in enumerate(lines, 1) if text in code)}"


def images(count: int = 6) -> np.ndarray:
    return RNG.random((count, 28, 28, 1), np.float32)


def close(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(4 * 13 * 13, 10),
    )


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


# Graphs.


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
    assert convolution.where == line("nn.Conv2d(1, 4, 3, stride=2)")
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
    assert found["leaky_relu_1"].where == line("# the slope")
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
        (nn.Hardswish(), {"class": "Hardswish"}),
        (nn.PReLU(), {"class": "PReLU"}),
        (nn.Softmax(2), {"class": "Softmax"}),
    ],
    ids=repr,
)
def test_what_a_layer_does(layer: nn.Module, attributes: dict[str, Any]) -> None:
    model = side(lambda: nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(10)))
    node = model.graph().nodes[0]
    assert node.attributes.items() >= attributes.items()
    x = images()
    expected = layer(torch.tensor(x).movedim(-1, 1)).movedim(1, -1).detach().numpy()
    assert node.shape == expected.shape[1:]
    close(model.record(x, False)["0"], expected)
    close(model.run_node("0", [x], False), expected)


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
        ("mul_1", "custom"),
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
    assert kinds(model) == ["custom", "global_average_pool", "dense"]
    found = nodes(model)["lstm"]
    assert found.attributes == {"class": "LSTM"} and list(found.parameters) == ["0", "1", "2", "3"]
    assert found.shape == (28, 8)
    x = images()[..., 0]
    close(model.run_node("lstm", [x], False), model.record(x, False)["lstm"])


def test_layers_of_ones_own_are_black_boxes() -> None:
    class Swish(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.beta = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * torch.sigmoid(self.beta * x)

    class Known(nn.Module):
        def forward(self, x):
            return F.leaky_relu(x, 0.2)  # a known one

    model = side(lambda: nn.Sequential(nn.Linear(784, 5), Swish(), Known(), nn.Linear(5, 10)))
    found = nodes(model)
    assert list(found) == ["0", "1", "2.leaky_relu_1", "3"]
    assert found["1"].kind == "custom" and found["1"].attributes == {"class": "Swish"}
    assert found["1"].parameters == {"0": "1.beta"}
    assert found["2.leaky_relu_1"].where == line("# a known one")
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    close(model.run_node("1", [x], True), x / (1 + np.exp(-x)))


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


# Modes.


def test_training_moves_the_averages_and_puts_them_back() -> None:
    model = side(small)
    before, x = model.parameters(), images()
    record = model.record(x, True)
    mean = 0.1 * record["0"].mean((0, 1, 2))
    variance = 0.9 + 0.1 * record["0"].reshape(-1, 4).var(0, ddof=1)
    close(record["parameter:1.running_mean"], mean)
    close(record["parameter:1.running_var"], variance)
    after = model.parameters()
    assert all((after[name] == before[name]).all() for name in before)
    assert not any(name.startswith("parameter:") for name in model.record(x, False))


def test_dropout_is_on_in_training_and_off_in_inference() -> None:
    model = side(small)
    ones = np.ones((50, 13, 13, 4), np.float32)
    rate = (model.run_node("3", [ones], True) == 0).mean()
    assert abs(rate - 0.25) < 0.02
    assert (model.run_node("3", [ones], False) == ones).all()
    assert side(small).record(images(), True)["3"].shape == (6, 13, 13, 4)


def test_a_module_left_in_inference_mode_shows_no_dropout() -> None:
    model = side(lambda: small().eval())
    record = model.record(images(), True)
    assert (record["3"] == record["2"]).all()
    assert (record["parameter:1.running_mean"] == 0).all()

    def partly() -> nn.Module:
        module = small()
        module[1].eval()  # pyright: ignore[reportIndexIssue]
        return module

    record = side(partly).record(images(), True)
    assert (record["3"] != record["2"]).any()
    assert (record["parameter:1.running_mean"] == 0).all()


def test_dropout_that_is_only_called_in_training() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(784, 10)

        def forward(self, x):
            x = x.flatten(1)
            if self.training:
                x = F.dropout(x, 0.5)
            return self.out(x)

    model = side(Network)
    assert kinds(model) == ["flatten", "dropout", "dense"]
    record = model.record(images(), False)
    assert (record["dropout_1"] == record["flatten_1"]).all()
    assert (model.run_node("dropout_1", [record["flatten_1"]], False) == record["flatten_1"]).all()


# Training.


def numeric(
    model: Adapter, name: str, index: tuple[int, ...], x: np.ndarray, y: np.ndarray
) -> float:
    """A derivative by differences."""
    parameters, losses = model.parameters(), []
    for shift in (1e-6, -1e-6):
        moved = parameters[name].copy()
        moved[index] += shift
        model.load({name: moved})
        losses.append(model.loss_and_gradients(x, y)[0])
    model.load(parameters)
    return (losses[0] - losses[1]) / 2e-6


def test_gradients_are_those_of_the_loss_without_dropout() -> None:
    model = side(lambda: small().double())
    x, y = images().astype(np.float64), np.arange(6)
    loss, gradients = model.loss_and_gradients(x, y)
    assert model.loss_and_gradients(x, y)[0] == loss
    for name, index in (("0.weight", (1, 2, 0, 3)), ("1.weight", (2,)), ("5.weight", (77, 4))):
        close(gradients[name][index], numeric(model, name, index, x, y), 1e-6)
    assert not any("running" in name for name in gradients)


def test_frozen_and_detached_parameters_have_no_gradient() -> None:
    def frozen() -> nn.Module:
        module = small()
        module[0].weight.requires_grad_(False)  # pyright: ignore
        return module

    _, gradients = side(frozen).loss_and_gradients(images(), np.arange(6))
    assert "0.weight" not in gradients and "0.bias" in gradients

    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(784, 4), nn.Linear(4, 10)

        def forward(self, x):
            return self.b(self.a(x.flatten(1)).detach())

    _, gradients = side(Detached).loss_and_gradients(images(), np.arange(6))
    assert set(gradients) == {"b.weight", "b.bias"}


def test_updates_are_the_optimisers() -> None:
    model = side(small, optimizer=torch.optim.Adam, lr=0.01)
    before = model.parameters()
    gradients = {"5.weight": RNG.normal(size=(676, 10)).astype(np.float32)}
    first, second = model.updates([gradients, gradients])
    close(before["5.weight"] - first["5.weight"], 0.01 * np.sign(gradients["5.weight"]), 1e-4)
    close(first["5.weight"] - second["5.weight"], 0.01 * np.sign(gradients["5.weight"]), 1e-4)
    assert (second["0.weight"] == before["0.weight"]).all()
    assert (model.updates([gradients])[0]["5.weight"] == first["5.weight"]).all()
    assert (model.parameters()["5.weight"] == before["5.weight"]).all()
    assert model.optimiser() == {
        "kind": "adam",
        "learning_rate": 0.01,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
        "bias_corrected_epsilon": True,
    }


def stepping(clear: bool = True, clip: float | None = None, decay: float = 0.0) -> Callable:
    """A user's own step, with mistakes to order."""

    def extras(module: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        def step(x: torch.Tensor, y: torch.Tensor) -> float:
            if clear:
                optimizer.zero_grad()
            value = loss(module(x), y) + decay * module[5].weight.square().sum()  # pyright: ignore
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
            return value.item()

        return {"step": step}

    return extras


def test_steps_are_the_users_own() -> None:
    plain, right = side(small), side(small, extras=stepping())
    wrong = side(small, extras=stepping(clear=False))
    for model in (right, wrong):
        model.load(plain.parameters())
    batches = [(images(), np.arange(6)) for _ in range(3)]
    losses, parameters = zip(
        *(model.steps(batches) for model in (plain, right, wrong)), strict=True
    )
    assert losses[0] == losses[1] and losses[0][0] == losses[2][0]
    weights = [[step["5.weight"] for step in steps] for steps in parameters]
    assert all((a == b).all() for a, b in zip(weights[0], weights[1], strict=True))
    assert (weights[0][0] == weights[2][0]).all() and (weights[0][1] != weights[2][1]).any()
    assert (parameters[0][0]["1.running_mean"] != 0).any()
    assert (plain.parameters()["1.running_mean"] == 0).all()


def test_what_a_step_adds_to_the_loss_and_does_to_gradients() -> None:
    model = side(small, extras=stepping(decay=0.3, clip=0.5))
    plain = side(small)
    plain.load(model.parameters())
    x, y = images(), np.arange(6)
    kernel = model.parameters()["5.weight"]
    penalty = 0.3 * np.square(kernel).sum()
    loss, gradients = model.loss_and_gradients(x, y)
    expected, others = plain.loss_and_gradients(x, y)
    close(loss, expected + penalty, 1e-5)
    close(gradients["5.weight"], others["5.weight"] + 0.6 * kernel, 1e-5)
    outputs = RNG.normal(size=(6, 10)).astype(np.float32)
    close(model.loss(outputs, y), plain.loss(outputs, y) + penalty, 1e-5)
    given = {name: np.ones_like(array) for name, array in gradients.items()}
    (after,) = model.updates([given])
    norm = np.sqrt(sum(array.size for array in given.values()))
    close(kernel - after["5.weight"], 0.1 * 0.5 / norm, 1e-6)
    assert (after["1.running_mean"] == 0).all()
    close(plain.updates([given])[0]["5.weight"], kernel - 0.1, 1e-6)


def test_initial_weights_are_drawn_anew() -> None:
    model = side(small)
    before = torch.random.get_rng_state()
    first, second = model.initial(2)
    assert (first["0.weight"] != second["0.weight"]).any()
    assert (model.initial(1)[0]["0.weight"] == first["0.weight"]).all()
    assert (torch.random.get_rng_state() == before).all()


# Losses and data.


@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [
        (nn.CrossEntropyLoss(), 10, "classes"),
        (F.cross_entropy, 10, "classes"),
        (lambda output, target: F.nll_loss(output.log_softmax(1), target), 10, "classes"),
        (nn.BCEWithLogitsLoss(), 1, "binary"),
        (nn.BCEWithLogitsLoss(), 10, "one_hot"),
        (nn.MSELoss(), 3, "values"),
        (lambda output, target: (output - target).square().mean(), 3, "values"),
        (lambda output, target: (output - target).abs().mean(), 1, "values"),
    ],
)
def test_what_the_loss_takes(loss: Any, units: int, targets: str) -> None:
    model = side(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, units)), loss)
    assert model.targets == targets
    if targets == "classes":
        outputs = RNG.normal(size=(4, units)).astype(np.float32)
        picked = outputs[np.arange(4), np.arange(4)]
        expected = np.mean(np.log(np.exp(outputs).sum(1)) - picked)
        close(model.loss(outputs, np.arange(4)), expected)


def test_prepare_has_a_default() -> None:
    raw, labels = RNG.integers(0, 256, (4, 28, 28, 1), np.uint8), np.array([3, 1, 4, 1])
    model = side(small)
    x, y = model.prepare(raw, labels)
    assert not model.prepares and x.dtype == np.float32 and y.dtype == np.int64
    close(x, raw / 255)
    model = side(lambda: nn.Linear(784, 10), nn.BCEWithLogitsLoss())
    x, y = model.prepare(raw, labels)
    assert x.shape == (4, 784) and (y == np.eye(10)[labels]).all()
    with pytest.raises(InputError, match="takes values"):
        side(lambda: nn.Linear(784, 1), nn.MSELoss()).prepare(raw, labels)


def test_what_the_user_prepares_comes_in_the_graphs_layout() -> None:
    def prepare(raw: np.ndarray, labels: np.ndarray) -> Any:
        x = torch.tensor(raw).permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.cat([x, -x], 1), torch.tensor(labels)

    network = lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.LazyLinear(10))  # noqa: E731
    model = side(network, extras=lambda *parts: {"prepare": prepare})
    raw = RNG.integers(0, 256, (4, 28, 28, 1), np.uint8)
    x, y = model.prepare(raw, np.arange(4))
    assert model.prepares and model.graph().input_shape == (28, 28, 2)
    close(x[..., :1], raw / 127.5 - 1)
    assert (y == np.arange(4)).all()
    assert model.record(x, False)["0"].shape == (4, 26, 26, 3)


def test_data_of_ones_own() -> None:
    model = side(lambda: nn.Sequential(nn.Linear(13, 10)), extras=fed(13))
    x, y = model.prepare(np.zeros((5, 28, 28, 1), np.uint8), np.zeros(5))
    assert x.shape == (5, 13) and (y == np.arange(5)).all()
    model = side(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10)),
        extras=fed(3, 8, 9),
    )
    assert model.prepare(np.zeros((5, 28, 28, 1), np.uint8), np.zeros(5))[0].shape == (5, 8, 9, 3)


def test_batches_of_a_loader() -> None:
    def extras(*parts: Any) -> dict[str, Any]:
        def batches(x: torch.Tensor, y: torch.Tensor) -> DataLoader:
            return DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True, drop_last=True)

        return {"batches": batches}

    epochs = side(small, extras=extras).batches(11, 2)
    assert epochs is not None and [len(epoch) for epoch in epochs] == [2, 2]
    for x, y in epochs[0] + epochs[1]:
        assert x.shape == (4, 28, 28, 1)
        assert (x == y[:, None, None, None]).all() and (x < 11).all()
    assert side(small).batches(11, 1) is None


# What people get wrong.


def parts(**others: Any) -> tuple[Any, ...]:
    module = others.get("module") or small()
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    given = {"module": module, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer} | others
    return tuple(given.values())


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def raises(*arguments: Any) -> Any:
    raise RuntimeError("out of cheese")  # the cheese


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (small, "returned a Sequential: return (module, loss, optimizer)"),
        (lambda: parts()[:2], "returned a tuple of 2"),
        (lambda: parts(module=nn.Linear), "is a type, not a torch.nn.Module"),
        (lambda: parts(loss="mse"), "the loss is a str"),
        (lambda: parts(optimizer=None), "the optimizer is a NoneType"),
        (lambda: parts(extras=[]), "extras is a list"),
        (lambda: parts(extras={"fit": {}}), "`fit`, which is unknown: it may have `prepare`"),
        (lambda: parts(extras={"step": 3}), "`step` in extras is a int"),
        (lambda: parts(extras={"prepare": raises}), "out of cheese (test_torch_adapter.py:"),
        (raises, f"the function fails: RuntimeError: out of cheese ({line('# the cheese')})"),
        (lambda: parts(module=Pair()), "the module gives a tuple, not a tensor"),
        (
            lambda: parts(module=nn.Sequential(nn.Conv2d(3, 4, 3))),
            "an input of shape (n, 1, 28, 28), fails: RuntimeError: ",
        ),
    ],
)
def test_what_is_returned_wrong_is_said(returned: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Adapter(lambda seed: returned())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_module_every_time_is_said() -> None:
    module = small()
    with pytest.raises(InputError, match="make the module, the loss and the optimizer inside it"):
        side(lambda: module).steps([])


def test_a_loss_that_is_not_reduced_is_said() -> None:
    model = side(small, nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(InputError, match=r"the loss gives \(6,\) where training takes one number"):
        model.loss_and_gradients(images(), np.arange(6))
