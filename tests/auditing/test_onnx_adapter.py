"""The ONNX adapter: what it reads from files with known weights, against SciPy, the reference and
ONNX Runtime itself."""

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import correlate
from torch import nn

from diptych.auditing.frameworks.onnx.adapter import Adapter
from diptych.auditing.graph import INPUT, Node
from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import KINDS
from diptych.auditing.reference import compute, to_float64
from diptych.errors import InputError
from diptych.formats.onnx import opening, operations, reader

RNG = np.random.Generator(np.random.Philox(11))
Shape = tuple[int | str, ...]


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def op(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output.upper(), **attributes)


def saved(
    path: Path,
    takes: Shape,
    nodes: list[onnx.NodeProto],
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    **constants: np.ndarray,
) -> Path:
    """A file whose input is called x and whose output is the last node's."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, takes)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    file = path / "model.onnx"
    onnx.save(model, str(file))
    return file


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def nodes_of(model: Adapter) -> dict[str, Node]:
    return {node.name: node for node in model.graph().nodes}


def proven(file: Path, *kinds: str) -> Adapter:
    """The file's side, of which all is checked that holds for any: each node does in float64 what
    it says it does, alone too, and the last one gives what the file itself gives."""
    model = Adapter(str(file))
    graph, parameters = model.graph(), model.parameters()
    assert tuple(node.kind for node in graph.nodes) == kinds
    x = numbers(8, *graph.input_shape)
    record = model.record(x, training=False) | {INPUT: x}
    for node in graph.nodes:
        assert has_attributes(node, KINDS[node.kind]), node
        assert record[node.name].shape == (8, *node.shape), node
        inputs = [record[name] for name in node.inputs]
        assert np.allclose(model.run_node(node.name, inputs, False), record[node.name], atol=1e-6)
        if node.kind != "custom":
            own = to_float64({role: parameters[name] for role, name in node.parameters.items()})
            exact = compute(node, own, [x.astype(np.float64) for x in inputs], False)
            assert np.allclose(record[node.name], exact, atol=1e-4), node
    submission = model.submission
    feed = submission.reader.input.from_graph(x, submission.file.samples["x"])
    last = submission.reader.views[submission.file.output]
    wanted = last.to_graph(own_output(file, feed))
    assert np.allclose(record[graph.nodes[-1].name], wanted, atol=1e-5)
    assert np.allclose(model.outputs(x, False, 2), [wanted, wanted], atol=1e-5)
    return model


def own_output(file: Path, x: np.ndarray) -> np.ndarray:
    """What the file's own session gives, as it is usually opened, for as many as it takes."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    size = given.shape[0] if isinstance(given.shape[0], int) else len(x)
    parts = [session.run(None, {given.name: x[i : i + size]})[0] for i in range(0, len(x), size)]
    return np.concatenate(parts)  # type: ignore[arg-type]


def test_channels_first_as_pytorch_exports(tmp_path: Path) -> None:
    kernel, bias, dense = numbers(4, 2, 3, 3), numbers(4), numbers(5, 4 * 3 * 2)
    file = saved(
        tmp_path,
        ("n", 2, 6, 5),
        [
            op("Conv", "x w b", "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            op("Relu", "conv", "relu"),
            op("MaxPool", "relu", "pool", kernel_shape=[2, 2], strides=[2, 2]),
            op("Flatten", "pool", "flat"),
            op("Gemm", "flat d e", "out", transB=1),
        ],
        w=kernel,
        b=bias,
        d=dense,
        e=numbers(5),
    )
    model = proven(file, "conv", "activation", "max_pool", "flatten", "dense")
    assert model.framework == f"ONNX (onnxruntime {onnxruntime.__version__})"
    graph, parameters = model.graph(), model.parameters()
    assert graph.input_shape == (6, 5, 2)
    assert [node.name for node in graph.nodes] == ["CONV", "RELU", "POOL", "FLAT", "OUT"]
    assert graph.nodes[3].attributes == {"order": "first"}
    assert np.array_equal(parameters["w"], kernel.transpose(2, 3, 1, 0))
    assert np.array_equal(parameters["d"], dense.T)

    x = numbers(1, 6, 5, 2)
    padded = np.pad(x[0], [(1, 1), (1, 1), (0, 0)])
    wanted = [
        correlate(padded, kernel[i].transpose(1, 2, 0), "valid")[..., 0] + bias[i] for i in range(4)
    ]
    assert np.allclose(model.record(x, False)["CONV"][0], np.stack(wanted, -1), atol=1e-5)


def test_channels_last_as_keras_exports(tmp_path: Path) -> None:
    """Transposes around each operation, and biases added by themselves."""
    first, last = [0, 3, 1, 2], [0, 2, 3, 1]
    file = saved(
        tmp_path,
        ("n", 6, 5, 3),
        [
            op("Transpose", "x", "x_first", perm=first),
            op("Conv", "x_first w", "conv", strides=[2, 2], auto_pad="SAME_UPPER"),
            op("Add", "conv b", "biased"),
            op("Relu", "biased", "relu"),
            op("Transpose", "relu", "relu_last", perm=last),
            op("Transpose", "relu_last", "relu_first", perm=first),
            op(
                "AveragePool", "relu_first", "pool", kernel_shape=[2, 2], strides=[1, 1],
                auto_pad="SAME_LOWER",
            ),
            op("Transpose", "pool", "pool_last", perm=last),
            op("Reshape", "pool_last shape", "flat"),
            op("MatMul", "flat d", "product"),
            op("Add", "product e", "dense"),
            op("Softmax", "dense", "out"),
        ],
        w=numbers(4, 3, 3, 2),
        b=numbers(1, 4, 1, 1),
        shape=ints(-1, 36),
        d=numbers(36, 5),
        e=numbers(5),
    )  # fmt: skip
    model = proven(file, "conv", "activation", "average_pool", "flatten", "dense", "activation")
    nodes = nodes_of(model)
    assert model.graph().input_shape == (6, 5, 3)
    assert nodes["CONV"].attributes["padding"] == [[0, 1], [0, 1]]
    assert nodes["CONV"].parameters == {"kernel": "w", "bias": "b"}
    assert nodes["POOL"].attributes["padding"] == [[1, 0], [1, 0]]
    assert nodes["POOL"].attributes["count_padding"] is False
    assert nodes["FLAT"].attributes == {"order": "last"}
    assert nodes["PRODUCT"].parameters == {"kernel": "d", "bias": "e"}
    assert model.parameters()["b"].shape == (4,)


def test_one_channel_is_reshaped_rather_than_transposed(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 6, 6, 1),
        [
            op("Reshape", "x to", "first"),
            op("Conv", "first w", "conv"),
            op("Transpose", "conv", "last", perm=[0, 2, 3, 1]),
            op("Flatten", "last", "flat"),
            op("MatMul", "flat d", "out"),
        ],
        to=ints(-1, 1, 6, 6),
        w=numbers(2, 1, 3, 3),
        d=numbers(32, 3),
    )
    model = proven(file, "conv", "flatten", "dense")
    assert model.graph().input_shape == (6, 6, 1)
    assert nodes_of(model)["FLAT"].attributes == {"order": "last"}


def test_parameters_go_in_and_come_back(tmp_path: Path) -> None:
    """Two norms that share all their initializers are two; turned and shared constants too."""
    file = saved(
        tmp_path,
        ("n", 3, 4, 4),
        [
            op("BatchNormalization", "x one zero zero one", "norm", epsilon=1e-3),
            op("Identity", "zero", "again"),
            op("BatchNormalization", "norm one again zero one", "other", momentum=0.99),
            op("GlobalAveragePool", "other", "pool"),
            op("Squeeze", "pool axes", "flat"),
            op("Transpose", "d", "turned"),
            op("MatMul", "flat turned", "product"),
            op("Add", "zero product", "out"),
        ],
        one=np.ones(3, np.float32),
        zero=np.zeros(3, np.float32),
        axes=ints(2, 3),
        d=numbers(3, 3),
    )
    model = proven(file, "batch_norm", "batch_norm", "global_average_pool", "dense")
    nodes = nodes_of(model)
    assert nodes["NORM"].attributes["epsilon"] == 1e-3
    assert nodes["NORM"].attributes["momentum"] == 0.9
    assert nodes["OTHER"].attributes["momentum"] == 0.99
    assert "d" in model.parameters()
    names = [name for node in nodes.values() for name in node.parameters.values()]
    assert len(names) == len(set(names)) == len(model.parameters()) == 10

    given = {name: np.abs(numbers(*v.shape)) + 0.1 for name, v in model.parameters().items()}
    x = numbers(2, 4, 4, 3)
    before = model.record(x, False)["PRODUCT"]
    model.load(given)
    assert all(np.array_equal(value, given[name]) for name, value in model.parameters().items())
    value = x.astype(np.float64)
    for name, epsilon in (("NORM", 1e-3), ("OTHER", 1e-5)):
        roles = ("gamma", "beta", "mean", "variance")
        gamma, beta, mean, variance = (given[nodes[name].parameters[role]] for role in roles)
        value = (value - mean) / np.sqrt(variance + epsilon) * gamma + beta
    dense = nodes["PRODUCT"].parameters
    wanted = value.mean((1, 2)) @ given[dense["kernel"]] + given[dense["bias"]]
    after = model.record(x, False)["PRODUCT"]
    assert np.allclose(after, wanted, rtol=1e-4)
    assert not np.allclose(after, before)


def test_a_layer_used_twice_stays_one(tmp_path: Path) -> None:
    nodes = [op("Gemm", "x w b", "one"), op("Gemm", "one w b", "two")]
    file = saved(tmp_path, ("n", 3), nodes, w=numbers(3, 3), b=numbers(3))
    model = proven(file, "dense", "dense")
    assert {tuple(n.parameters.values()) for n in model.graph().nodes} == {("w", "b")}


def test_branches_pads_and_arithmetic(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 2, 4, 6),
        [
            op("Sub", "x mean", "centred"),
            op("Div", "centred deviation", "scaled"),
            op("Pad", "scaled pads", "pad"),
            op("Conv", "pad w", "conv", dilations=[2, 1], group=2),
            op("LeakyRelu", "conv", "leaky", alpha=0.2),
            op("Add", "leaky scaled", "sum"),
            op("Concat", "sum leaky", "joined", axis=1),
            op("ReduceMean", "joined", "mean_of", axes=[2, 3], keepdims=0),
            op("Cast", "mean_of", "cast", to=TensorProto.FLOAT),
            op("Dropout", "cast", "dropped"),
            op("Clip", "dropped zero six", "clipped"),
            op("LogSoftmax", "clipped", "out", axis=-1),
        ],
        mean=np.array([0.5, 0.25], np.float32).reshape(1, 2, 1, 1),
        deviation=np.array(0.5, np.float32),
        pads=ints(0, 0, 2, 1, 0, 0, 2, 1),
        w=numbers(2, 1, 3, 3),
        zero=np.array(0, np.float32),
        six=np.array(6, np.float32),
    )
    model = proven(
        file, "rescale", "rescale", "pad", "conv", "activation", "add", "concatenate",
        "global_average_pool", "activation", "activation",
    )  # fmt: skip
    nodes = nodes_of(model)
    assert nodes["CENTRED"].attributes == {"scale": 1.0, "offset": [-0.5, -0.25]}
    assert nodes["SCALED"].attributes == {"scale": 2.0, "offset": 0.0}
    assert nodes["PAD"].attributes["padding"] == [[2, 2], [1, 1]]
    assert nodes["CONV"].attributes["dilation"] == [2, 1]
    assert nodes["CONV"].attributes["groups"] == 2
    assert nodes["LEAKY"].attributes == {"function": "leaky_relu", "slope": 0.2}
    assert nodes["SUM"].inputs == ("LEAKY", "SCALED")
    assert nodes["JOINED"].shape == (4, 6, 4)
    assert nodes["CLIPPED"].attributes["function"] == "relu6"


@pytest.mark.parametrize(
    ("kind", "settings", "padding", "counted"),
    [
        ("MaxPool", {"ceil_mode": 1}, [[0, 1], [0, 0]], None),
        ("AveragePool", {"ceil_mode": 1}, [[0, 1], [0, 0]], False),
        ("AveragePool", {"pads": [1, 0, 0, 1], "count_include_pad": 1}, [[1, 0], [0, 1]], True),
        ("AveragePool", {"pads": [1, 0, 0, 1]}, [[1, 0], [0, 1]], False),
        ("AveragePool", {"auto_pad": "VALID"}, [[0, 0], [0, 0]], False),
    ],
)
def test_pools(
    tmp_path: Path, kind: str, settings: Any, padding: list[list[int]], counted: bool | None
) -> None:
    nodes = [op(kind, "x", "out", kernel_shape=[2, 2], strides=[2, 2], **settings)]
    model = proven(
        saved(tmp_path, ("n", 3, 5, 6), nodes), kind.replace("Pool", "").lower() + "_pool"
    )
    (node,) = model.graph().nodes
    assert node.attributes["padding"] == padding
    assert node.attributes.get("count_padding") == counted


def test_a_convolution_of_signals_done_on_images(tmp_path: Path) -> None:
    """As Keras' Conv1D and its pool come out: an axis of one is put in and taken out."""
    file = saved(
        tmp_path,
        ("n", 8, 3),
        [
            op("Transpose", "x", "first", perm=[0, 2, 1]),
            op("Unsqueeze", "first axis", "image"),
            op("Conv", "image w", "conv", pads=[0, 1, 0, 1]),
            op("MaxPool", "conv", "pool", kernel_shape=[1, 2], strides=[1, 2]),
            op("Squeeze", "pool axis", "signal"),
            op("Transpose", "signal", "last", perm=[0, 2, 1]),
            op("Reshape", "last shape", "flat"),
            op("MatMul", "flat d", "out"),
        ],
        axis=ints(2),
        shape=ints(-1, 16),
        w=numbers(4, 3, 1, 3),
        d=numbers(16, 2),
    )
    model = proven(file, "conv", "max_pool", "flatten", "dense")
    nodes = nodes_of(model)
    assert model.graph().input_shape == (8, 3)
    assert model.parameters()["w"].shape == (3, 3, 4)
    assert nodes["CONV"].attributes["padding"] == [[1, 1]]
    assert nodes["POOL"].attributes["size"] == [2]
    assert nodes["FLAT"].attributes == {"order": "last"}


@pytest.mark.parametrize("half_last", [True, False])
def test_an_activation_that_was_taken_apart(tmp_path: Path, half_last: bool) -> None:
    gelu = [
        op("Div", "x root", "divided"),
        op("Erf", "divided", "erf"),
        op("Add", "erf one", "risen"),
        op("Mul", "x risen", "product") if half_last else op("Mul", "x half", "halved"),
        op("Mul", "product half", "gelu") if half_last else op("Mul", "halved risen", "gelu"),
    ]
    silu = [op("Sigmoid", "gelu", "gate"), op("Mul", "gelu gate", "silu")]
    leaky = [op("Mul", "silu slope", "sloped"), op("Max", "silu sloped", "out")]
    file = saved(
        tmp_path,
        ("n", 4),
        [*gelu, *silu, *leaky],
        root=np.array(np.sqrt(2), np.float32),
        one=np.array(1, np.float32),
        half=np.array(0.5, np.float32),
        slope=np.array(0.125, np.float32),
    )
    model = proven(file, "activation", "activation", "activation")
    said = [tuple(node.attributes.values()) for node in model.graph().nodes]
    assert said == [("gelu", None), ("silu", None), ("leaky_relu", 0.125)]


def test_what_has_no_name_is_custom(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 3, 4, 5),
        [
            op("MatMul", "matrix x", "product"),
            op("Transpose", "product", "turned", perm=[0, 1, 3, 2]),
            op("Conv", "turned w", "conv"),
            op("Erf", "conv", "out"),
        ],
        matrix=numbers(3, 4, 4),
        w=numbers(3, 3, 3, 1),
    )
    model = proven(file, "custom", "rearrange", "conv", "custom")
    classes = [n.attributes["class"] for n in model.graph().nodes if n.kind == "custom"]
    assert classes == ["MatMul", "Erf"]
    assert model.graph().nodes[0].parameters == {"0": "matrix"}
    x = numbers(2, 4, 5, 3)
    record = model.record(x, False)
    turned = record[model.graph().nodes[1].name]
    assert np.array_equal(turned, record["PRODUCT"].transpose(0, 2, 1, 3))


def test_a_reader_refuses_attributes_that_it_does_not_know() -> None:
    """As another version of an operator may have; the operation is then custom."""
    read = operations.reads["Softmax"]
    assert reader.accepts(read, {"axis": 1})
    assert not reader.accepts(read, {"axis": 1, "temperature": 2.0})


def test_an_optional_input_that_is_left_out(tmp_path: Path) -> None:
    """Its name is empty, and no tensor."""
    file = saved(
        tmp_path, ("n", 3), [helper.make_node("Clip", ["x", "", "high"], ["out"], name="CLIP")],
        high=np.array(1, np.float32),
    )  # fmt: skip
    model = proven(file, "activation")
    assert model.graph().nodes[0].attributes["limits"] == [None, 1.0]


def test_a_file_has_no_twin_and_runs_as_often_as_asked(tmp_path: Path) -> None:
    model = Adapter(str(saved(tmp_path, ("n", 3), [op("Relu", "x", "out")])))
    assert not model.trains
    with pytest.raises(NotImplementedError, match="fixes the type"):
        model.twin()
    assert model.outputs(numbers(2, 3), True, 4).shape == (4, 2, 3)


def test_outputs_follow_the_weights(tmp_path: Path) -> None:
    file = saved(tmp_path, ("n", 3), [op("MatMul", "x w", "out")], w=numbers(3, 2))
    model, x, kernel = Adapter(str(file)), numbers(4, 3), numbers(3, 2)
    assert not np.allclose(model.outputs(x, False, 1)[0], x @ kernel)
    model.load({"w": kernel})
    assert np.allclose(model.outputs(x, False, 1)[0], x @ kernel, atol=1e-6)


def test_digits_are_prepared(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    labels = np.arange(5)
    constants: dict[str, Any] = {"w": numbers(784, 3), "flat_shape": ints(-1, 784)}
    dense = [op("Reshape", "x flat_shape", "flat"), op("MatMul", "flat w", "out")]
    file = saved(tmp_path, ("n", 1, 28, 28), dense, **constants)
    x, y = Adapter(str(file)).prepare(images, labels)
    assert x.shape == (5, 28, 28, 1) and x.dtype == np.float32 and y.dtype == np.int64
    assert np.array_equal(x, images * np.float32(1 / 255))

    whole = [op("Cast", "x", "cast", to=TensorProto.FLOAT), *dense]
    whole[1].input[0] = "cast"
    raw = Adapter(str(saved(tmp_path, ("n", 28, 28), whole, dtype=TensorProto.UINT8, **constants)))
    x, _ = raw.prepare(images, labels)
    assert x.dtype == np.uint8 and x.shape == (5, 28, 28)
    assert np.allclose(raw.record(x, False)["OUT"], x.reshape(5, -1) @ constants["w"], rtol=1e-4)

    small = Adapter(str(saved(tmp_path, ("n", 3), [op("Relu", "x", "out")])))
    with pytest.raises(InputError, match="784 numbers"):
        small.prepare(images, labels)


def test_an_export_from_pytorch(tmp_path: Path) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2),
        nn.Dropout(), nn.Conv2d(4, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip
    file = tmp_path / "model.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (torch.zeros(2, 1, 12, 12),), str(file), dynamo=False, opset_version=17,
                input_names=["x"],
            )  # fmt: skip
    except Exception as problem:
        pytest.skip(f"PyTorch does not export here: {problem}")
    model = proven(
        file, "conv", "activation", "max_pool", "conv", "activation", "global_average_pool",
        "dense",
    )  # fmt: skip
    functions = [n.attributes["function"] for n in model.graph().nodes if n.kind == "activation"]
    assert functions == ["gelu", "silu"]
    x = numbers(5, 12, 12, 1)  # Of a file that takes two at a time.
    wanted = module(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().numpy()
    assert np.allclose(model.record(x, False)[model.graph().nodes[-1].name], wanted, atol=1e-5)


def test_what_cannot_be_audited(tmp_path: Path) -> None:
    def refused(match: str, file: Path) -> None:
        with pytest.raises(InputError, match=match) as caught:
            Adapter(str(file))
        assert "\n" not in str(caught.value)

    file = tmp_path / "model.onnx"
    for broken in (b"", b"no model at all", bytes(range(256))):
        file.write_bytes(broken)
        refused(r"model\.onnx", file)
    two = [op("Add", "x y", "out")]
    refused("does not take the file", saved(tmp_path, ("n", 3), two))
    refused("examples first", saved(tmp_path, ("n", "m"), [op("Relu", "x", "out")]))
    foreign = helper.make_node("Magic", ["x"], ["out"], domain="ai.example")
    refused("does not take the file", saved(tmp_path, ("n", 3), [foreign]))

    model = onnx.load(str(saved(tmp_path, ("n", 3), two)))
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 3)))
    onnx.save(model, str(file))
    refused(r"2 inputs \(x, y\)", file)

    saved(tmp_path, ("n", 300), [op("MatMul", "x w", "out")], w=numbers(300, 3))
    outside = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
    onnx.save_model(onnx.load(str(file)), str(file), **outside)
    refused("weights in another file", file)


def test_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime, .* `pip install .*\[onnx\]'`"):
        importlib.reload(opening)
