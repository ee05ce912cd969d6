"""An ONNX file as a network and its weights.

`reader` sees through whatever layout an exporter chose; what it reads becomes layers one by one.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import InputError
from diptych.formats.archives import LARGEST, embedded
from diptych.formats.onnx.file import File
from diptych.formats.onnx.opening import onnx, opened
from diptych.formats.onnx.operation import NodeDraft
from diptych.formats.onnx.reader import INPUT, Reader, reading
from diptych.formats.protocol import StoredNetwork
from diptych.formats.reading import as_described, check_size, layer_name
from diptych.layers import Conv
from diptych.network import Network, Weights

KEY = "diptych"
"""The key in the file's metadata of `exporting.about_run` as JSON."""
OPERATORS = frozenset(
    [
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant"),
        *("ConstantOfShape", "Conv", "Div", "Dropout", "Elu", "Erf", "Flatten", "Gather", "Gelu"),
        *("Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "LogSoftmax"),
        *("MatMul", "MaxPool", "Mul", "Neg", "Pad", "Relu", "Reshape", "Shape", "Slice"),
        *("Softmax", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze"),
    ]
)
"""The operators that a network's description can come down to. A file with others is not run."""
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh")


def read(path: Path) -> StoredNetwork:
    """Reads a file, see `diptych.formats.protocol.FormatModule`."""
    about = _checked(path, opened(path))
    reader = reading(File(path))
    network, weights = _NetworkReader(path, reader).network()
    check_size(network, path)
    network, weights = as_described(network, weights, about)
    network.check_weights(weights)
    return StoredNetwork(network, weights, about)


def _checked(path: Path, model: onnx.ModelProto) -> dict[str, Any]:
    """Checks that the model can be run safely, and gives what the file says of itself."""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            where = f" ({node.name})" if node.name else ""
            raise InputError(
                f"{path.name}: operator {node.op_type}{where}: a network's description has nothing "
                f"like it"
            )
    initializers = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        numbers = math.prod(max(size, 1) for size in sizes)
        if value.name not in initializers and numbers > LARGEST // 64:
            raise InputError(f"{path.name} takes an input of shape {sizes}: too large to be meant")
    metadata = {each.key: each.value for each in model.metadata_props}
    return embedded(metadata.get(KEY))


class _NetworkReader:
    """Makes a network's layers of a file's nodes, one after the other."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path, self.reader = path, reader
        self.input_shape = reader.input.shape
        self.layers: list[dict[str, Any]] = []
        self.weights: Weights = {}
        self.order: np.ndarray | None = None
        """The places of the flattened values in the file's order, where that is not ours."""
        self.pad: list[list[int]] = [[0, 0], [0, 0]]
        """Zeros around the image that a node of its own adds."""
        self.shape = self.input_shape
        """Of the array before the present node."""

    def network(self) -> tuple[Network, Weights]:
        previous, drafts = INPUT, list(self.reader.drafts.values())
        for draft in drafts:
            sources = [view.node for view in draft.inputs]
            if sources != [previous]:
                raise self._unknown(draft, f"takes {' and '.join(sources)}, not {previous}")
            if np.any(self.pad) and draft.kind != "conv":
                raise self._unknown(draft, "follows padding that only a convolution can have")
            if not self._add(draft, draft is drafts[-1]):
                raise self._unknown(draft, "is nothing that a network's description has")
            previous, self.shape = draft.name, draft.output.shape
        described = {"name": self.path.stem, "input_shape": list(self.input_shape)}
        network = Network.from_dict(described | {"layers": self.layers}, f"in {self.path.name}")
        return network, self.weights

    def _unknown(self, draft: NodeDraft, problem: str) -> InputError:
        settings = ", ".join(f"{key} {str(value)[:40]}" for key, value in draft.attributes.items())
        return InputError(
            f"{self.path.name}: layer {draft.name} "
            f"({draft.kind}{': ' * bool(settings)}{settings}) {problem}"
        )

    def _new(self, draft: NodeDraft, kind: str, **values: Any) -> str:
        """Adds a layer, and gives its name."""
        # Our own exports call a layer's operation `layer/sum` or the like.
        taken = {layer["name"] for layer in self.layers}
        name = layer_name(draft.name.split("/")[0] or draft.name, taken)
        self.layers.append({"name": name, "kind": kind, **values})
        return name

    def _array(self, draft: NodeDraft, role: str) -> np.ndarray:
        weight = self.reader.weights[draft.parameters[role]]
        stored = self.reader.file.samples[weight.initializer]
        return np.ascontiguousarray(weight.to_graph(stored), np.float32)

    def _vector(self, draft: NodeDraft, role: str, size: int, default: float) -> np.ndarray:
        """A parameter of a number per channel; all ``default`` where the node lacks it."""
        if role not in draft.parameters:
            return np.full(size, default, np.float32)
        return self._array(draft, role).reshape(size)

    def _add(self, draft: NodeDraft, last: bool) -> bool:
        """Adds the layers that compute the same as the node; False where there are none."""
        values = draft.attributes
        match draft.kind:
            case "rescale":
                # In every workflow, pixels are scaled before the network.
                scale, offset = np.array(values["scale"]), np.array(values["offset"])
                first = not self.layers and np.allclose(scale, 1 / 255, rtol=1e-6)
                return bool(first and not np.any(offset))
            case "conv":
                return self._conv(draft)
            case "dense":
                self._dense(draft)
            case "batch_norm":
                self._batch_norm(draft)
            case "max_pool" | "average_pool":
                padding = self._padding(values["padding"], values["size"], values["strides"])
                counted = values.get("count_padding") and np.any(values["padding"])
                if padding is None or counted or len(values["size"]) != 2:
                    return False
                windows = {"size": values["size"], "stride": values["strides"]}
                self._new(draft, draft.kind, **windows, padding=padding)
            case "global_average_pool" | "global_max_pool" if len(self.shape) == 3:
                kind = draft.kind.removeprefix("global_")
                self._new(draft, kind, size=list(self.shape[:2]), padding="valid")
                self._new(draft, "flatten")
            case "flatten":
                if len(self.shape) == 3 and values.get("order") == "first":
                    height, width, channels = self.shape
                    ours = np.arange(math.prod(self.shape)).reshape(channels, height, width)
                    self.order = ours.transpose(1, 2, 0).ravel()
                self._new(draft, "flatten")
            case "dropout":
                self._new(draft, "dropout", rate=float(values["rate"]))
            case "activation":
                return self._activation(draft, last)
            case "pad" if values["mode"] == "constant" and not values["value"]:
                self.pad = [list(map(int, pair)) for pair in values["padding"]]
                return len(self.pad) == 2
            case _:
                return False
        return True

    def _conv(self, draft: NodeDraft) -> bool:
        values, kernel = draft.attributes, self._array(draft, "kernel")
        dilated = np.any(np.array(values["dilation"]) != 1)
        if kernel.ndim != 4 or values.get("groups", 1) != 1 or dilated:
            return False
        pads = (np.array(values["padding"]) + np.array(self.pad)).tolist()
        self.pad = [[0, 0], [0, 0]]
        padding = self._padding(pads, kernel.shape[:2], values["strides"], draft)
        if padding is None:
            return False
        windows = {"kernel": list(kernel.shape[:2]), "stride": values["strides"]}
        name = self._new(draft, "conv", filters=kernel.shape[3], **windows, padding=padding)
        self.weights[f"{name}/kernel"] = kernel
        self.weights[f"{name}/bias"] = self._vector(draft, "bias", kernel.shape[3], 0)
        return True

    def _padding(
        self, pads: list[list[int]], window: Any, strides: Any, draft: NodeDraft | None = None
    ) -> str | None:
        """``valid`` or ``same``, whichever pads so; None where neither does."""
        if not np.any(pads):
            return "valid"
        shape = self.shape
        if draft is not None:  # Where a node of its own pads, "same" refers to the image before.
            shape = self._unpadded(draft)
        same = Conv.model_validate(
            {"filters": 1, "kernel": list(window), "stride": list(strides), "padding": "same"}
        )
        return "same" if [list(pair) for pair in same.pads(shape)] == pads else None

    def _unpadded(self, draft: NodeDraft) -> tuple[int, ...]:
        """The shape of a node's input, or of its padding's input."""
        drafts = self.reader.drafts
        source = drafts.get(draft.inputs[0].node)
        if source is not None and source.kind == "pad":
            source = drafts.get(source.inputs[0].node)
        return self.input_shape if source is None else source.output.shape

    def _dense(self, draft: NodeDraft) -> None:
        kernel = self._array(draft, "kernel")
        if self.order is not None:
            kernel, self.order = kernel[self.order], None
        name = self._new(draft, "dense", units=kernel.shape[1])
        self.weights[f"{name}/kernel"] = np.ascontiguousarray(kernel)
        self.weights[f"{name}/bias"] = self._vector(draft, "bias", kernel.shape[1], 0)

    def _batch_norm(self, draft: NodeDraft) -> None:
        values, channels = draft.attributes, self.shape[-1]
        settings = {"epsilon": float(values["epsilon"])}
        if values.get("momentum") is not None:
            settings["momentum"] = float(values["momentum"])
        name = self._new(draft, "batch_norm", **settings)
        roles = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean"}
        for role, ours in (roles | {"variance": "moving_variance"}).items():
            value = self._vector(draft, role, channels, float(role in ("gamma", "variance")))
            self.weights[f"{name}/{ours}"] = value if self.order is None else value[self.order]

    def _activation(self, draft: NodeDraft, last: bool) -> bool:
        function, slope = draft.attributes["function"], draft.attributes.get("slope")
        if function in ("softmax", "log_softmax"):
            return last  # It belongs to the loss.
        if function not in ACTIVATIONS or (function != "leaky_relu" and slope not in (None, 1.0)):
            return False
        values: dict[str, Any] = {"activation": function}
        if function == "leaky_relu":
            values["slope"] = slope
        before = self.layers[-1] if self.layers else {}
        if before.get("kind") in ("conv", "dense") and "activation" not in before:
            before |= values
        else:
            self._new(draft, "activation", **values)
        return True
