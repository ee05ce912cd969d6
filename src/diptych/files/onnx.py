"""ONNX: what nearly every tool reads.

A file is read through the audit's eyes, which see through whatever layout an exporter liked: as a
graph of what it does, of which the network is made.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from diptych.auditing.graph import INPUT, Graph, Node
from diptych.data.batches import to_float
from diptych.errors import InputError
from diptych.files import LARGEST, Content, Found, in_batches
from diptych.files.reading import as_it_says, check_size, embedded, layer_name
from diptych.network import Conv, Network, Weights
from diptych.onnx_model import INPUT as IMAGES
from diptych.onnx_model import OUTPUT as LOGITS
from diptych.onnx_model import onnx_model

KEY = "diptych"
"""In the metadata: `exporting.about` as JSON."""
EXAMPLE = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(["logits"], {{"images": images}})
"""


# Out.


def write(content: Content, path: Path) -> None:
    model = onnx_model(content.network, content.weights, uint8_input=content.uint8_input)
    if content.int8:
        model = quantised(model, content)
    said = {
        KEY: json.dumps(content.about),
        "class_names": json.dumps(content.about["class_names"], ensure_ascii=False),
        "licence": content.about["licence"],
    }
    onnx.helper.set_model_props(model, said)
    path.write_bytes(model.SerializeToString())


def quantised(model: onnx.ModelProto, content: Content) -> onnx.ModelProto:
    """The model in 8-bit integers: kernels a scale a filter, values by the examples."""
    assert content.examples is not None
    images = content.examples if content.uint8_input else to_float(content.examples)
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = Path(folder, "prepared.onnx"), Path(folder, "made.onnx")
        quant_pre_process(model, str(prepared), skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            Examples(in_batches(images)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(made)


class Examples(CalibrationDataReader):
    """Batches of images, as ONNX Runtime asks for them; None after the last."""

    def __init__(self, batches: list[np.ndarray]) -> None:
        self.batches: Iterator[np.ndarray] = iter(batches)

    def get_next(self) -> Any:
        batch = next(self.batches, None)
        return None if batch is None else {IMAGES: batch}


def tool() -> str:
    return f"ONNX Runtime {onnxruntime.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run([LOGITS], {IMAGES: some})[0] for some in in_batches(images)]
    return np.concatenate([np.asarray(part) for part in parts])


# In.

OPERATORS = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "Div",
        "Dropout",
        "Elu",
        "Erf",
        "Flatten",
        "Gather",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "LogSoftmax",
        "MatMul",
        "MaxPool",
        "Mul",
        "Neg",
        "Pad",
        "Relu",
        "Reshape",
        "Shape",
        "Slice",
        "Softmax",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Unsqueeze",
    ]
)
"""Those that a network of ours can come down to. A file with others is not run at all."""
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh")


def read(path: Path) -> Found:
    about = _looked_at(path)
    from diptych.auditing.frameworks.onnx import adapter

    model = adapter.Model(str(path))
    network, weights = _Reader(path, model.graph(), model.parameters()).network()
    check_size(network, path)
    network, weights = as_it_says(network, weights, about)
    network.check_weights(weights)
    return Found(network, weights, about)


def _looked_at(path: Path) -> dict[str, Any]:
    """What the file says of itself, once it is sure that it can be run: nothing is run here."""
    from diptych.auditing.frameworks.onnx import adapter

    model = adapter.read(str(path))
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise InputError(f"{path.name} keeps weights in another file; expected them inside")
        if math.prod(tensor.dims) > LARGEST or any(size < 0 for size in tensor.dims):
            raise InputError(f"{path.name}: {tensor.name} has shape {tuple(tensor.dims)}")
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            where = f" ({node.name})" if node.name else ""
            raise InputError(
                f"{path.name}: operator {node.op_type}{where}: a network's description has nothing "
                f"like it"
            )
    initial = {each.name for each in model.graph.initializer}
    for given in model.graph.input:
        sizes = [each.dim_value for each in given.type.tensor_type.shape.dim]
        if given.name not in initial and math.prod(max(size, 1) for size in sizes) > LARGEST // 64:
            raise InputError(f"{path.name} takes an input of shape {sizes}: too large to be meant")
    said = {each.key: each.value for each in model.metadata_props}
    return embedded(said.get(KEY))


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors that a file holds, in nodes as well."""
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in model.graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


class _Reader:
    """Makes a network of an audit's graph, node by node."""

    def __init__(self, path: Path, graph: Graph, parameters: dict[str, np.ndarray]) -> None:
        self.path, self.graph, self.parameters = path, graph, parameters
        self.layers: list[dict[str, Any]] = []
        self.weights: Weights = {}
        self.order: np.ndarray | None = None
        """Where the flat values that come out so far are in the file's order, if not in ours."""
        self.pad: list[list[int]] = [[0, 0], [0, 0]]
        """Zeros around the image that a node of its own has put there."""
        self.shape = graph.input_shape

    def network(self) -> tuple[Network, Weights]:
        previous = INPUT
        for number, node in enumerate(self.graph.nodes):
            if node.inputs != (previous,):
                raise self._unknown(node, f"takes {' and '.join(node.inputs)}, not {previous}")
            if np.any(self.pad) and node.kind != "conv":
                raise self._unknown(node, "has padding before it that only a convolution can have")
            if not self._add(node, number == len(self.graph.nodes) - 1):
                raise self._unknown(node, "is nothing that a network's description has")
            previous, self.shape = node.name, node.shape
        described = {"name": self.path.stem, "input_shape": list(self.graph.input_shape)}
        network = Network.from_dict(described | {"layers": self.layers}, f"in {self.path.name}")
        return network, self.weights

    def _unknown(self, node: Node, problem: str) -> InputError:
        settings = ", ".join(f"{key} {str(value)[:40]}" for key, value in node.attributes.items())
        return InputError(
            f"{self.path.name}: layer {node.name} ({node.kind}{': ' * bool(settings)}{settings}) "
            f"{problem}"
        )

    def _new(self, node: Node, kind: str, **values: Any) -> str:
        # Our own exports call a layer's operation `layer/sum` or the like.
        name = layer_name(node.name.split("/")[0] or node.name, {e["name"] for e in self.layers})
        self.layers.append({"name": name, "kind": kind, **values})
        return name

    def _parameter(self, node: Node, role: str, shape: tuple[int, ...], value: float) -> np.ndarray:
        if role not in node.parameters:
            return np.full(shape, value, np.float32)
        return self.parameters[node.parameters[role]].astype(np.float32).reshape(shape)

    def _add(self, node: Node, last: bool) -> bool:
        """Adds the layers that do what the node does, or says that there are none."""
        values = node.attributes
        match node.kind:
            case "rescale":
                # Pixels are scaled before the network, in every workflow.
                scale, offset = np.array(values["scale"]), np.array(values["offset"])
                first = not self.layers and np.allclose(scale, 1 / 255, rtol=1e-6)
                return bool(first and not np.any(offset))
            case "conv":
                return self._conv(node)
            case "dense":
                self._dense(node)
            case "batch_norm":
                self._batch_norm(node)
            case "max_pool" | "average_pool":
                padding = self._padding(values["padding"], values["size"], values["strides"])
                counted = values.get("count_padding") and np.any(values["padding"])
                if padding is None or counted or len(values["size"]) != 2:
                    return False
                windows = {"size": values["size"], "stride": values["strides"]}
                self._new(node, node.kind, **windows, padding=padding)
            case "global_average_pool" | "global_max_pool" if len(self.shape) == 3:
                kind = node.kind.removeprefix("global_")
                self._new(node, kind, size=list(self.shape[:2]), padding="valid")
                self._new(node, "flatten")
            case "flatten":
                if len(self.shape) == 3 and values.get("order") == "first":
                    height, width, channels = self.shape
                    ours = np.arange(math.prod(self.shape)).reshape(channels, height, width)
                    self.order = ours.transpose(1, 2, 0).ravel()
                self._new(node, "flatten")
            case "dropout":
                self._new(node, "dropout", rate=float(values["rate"]))
            case "activation":
                return self._activation(node, last)
            case "pad":
                self.pad = [list(map(int, each)) for each in values["padding"]]
                return len(self.pad) == 2
            case _:
                return False
        return True

    def _conv(self, node: Node) -> bool:
        values, kernel = node.attributes, self.parameters[node.parameters["kernel"]]
        if (
            kernel.ndim != 4
            or values.get("groups", 1) != 1
            or np.any(np.array(values["dilation"]) != 1)
        ):
            return False
        pads = (np.array(values["padding"]) + np.array(self.pad)).tolist()
        self.pad = [[0, 0], [0, 0]]
        padding = self._padding(pads, kernel.shape[:2], values["strides"], node)
        if padding is None:
            return False
        windows = {"kernel": list(kernel.shape[:2]), "stride": values["strides"]}
        name = self._new(node, "conv", filters=kernel.shape[3], **windows, padding=padding)
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(kernel, np.float32)
        self.weights[f"{name}/bias"] = self._parameter(node, "bias", kernel.shape[3:], 0)
        return True

    def _padding(
        self, pads: list[list[int]], window: Any, strides: Any, node: Node | None = None
    ) -> str | None:
        """``valid`` or ``same``, whichever pads so; None where neither does."""
        if not np.any(pads):
            return "valid"
        shape = self.shape
        if node is not None:  # Where a node of its own pads, the image is as it was before.
            shape = self._before(node)
        same = Conv.model_validate(
            {"filters": 1, "kernel": list(window), "stride": list(strides), "padding": "same"}
        )
        return "same" if [list(each) for each in same.pads(shape)] == pads else None

    def _before(self, node: Node) -> tuple[int, ...]:
        """The shape of what a node takes, or of what its padding takes."""
        nodes = {each.name: each for each in self.graph.nodes}
        source = nodes.get(node.inputs[0])
        if source is not None and source.kind == "pad":
            source = nodes.get(source.inputs[0])
        return self.graph.input_shape if source is None else source.shape

    def _dense(self, node: Node) -> None:
        kernel = self.parameters[node.parameters["kernel"]]
        if self.order is not None:
            kernel, self.order = kernel[self.order], None
        name = self._new(node, "dense", units=kernel.shape[1])
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(kernel, np.float32)
        self.weights[f"{name}/bias"] = self._parameter(node, "bias", kernel.shape[1:], 0)

    def _batch_norm(self, node: Node) -> None:
        values, shape = node.attributes, self.shape[-1:]
        known = {"epsilon": float(values["epsilon"])}
        if values.get("momentum") is not None:
            known["momentum"] = float(values["momentum"])
        name = self._new(node, "batch_norm", **known)
        roles = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean"}
        for role, ours in (roles | {"variance": "moving_variance"}).items():
            value = self._parameter(node, role, shape, float(role in ("gamma", "variance")))
            self.weights[f"{name}/{ours}"] = value if self.order is None else value[self.order]

    def _activation(self, node: Node, last: bool) -> bool:
        function, slope = node.attributes["function"], node.attributes.get("slope")
        if function in ("softmax", "log_softmax"):
            return last  # The loss has it.
        if function not in ACTIVATIONS or (function == "elu" and slope not in (None, 1.0)):
            return False
        values: dict[str, Any] = {"activation": function}
        if function == "leaky_relu":
            values["slope"] = slope
        before = self.layers[-1] if self.layers else {}
        if before.get("kind") in ("conv", "dense") and "activation" not in before:
            before |= values
        else:
            self._new(node, "activation", **values)
        return True
