"""A network and its weights as an ONNX model: what other runtimes compute it with."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from diptych.network import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    Weights,
)

OPSET = 20
"""The first with an exact Gelu."""
IR_VERSION = 10
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def onnx_model(
    network: Network,
    weights: Weights,
    *,
    uint8_input: bool = False,
    outputs: Sequence[str] = (),
) -> onnx.ModelProto:
    """The network at inference, for any number of images.

    Args:
        network: what to build.
        weights: float32 by name, in the shared layout.
        uint8_input: take uint8 images and scale them inside, as every workflow does; else the
            input is float32 in [0, 1].
        outputs: names of layers whose outputs, after their activation, the model gives as well:
            ``(n, height, width, channels)`` or ``(n, units)``, under the layer's name.

    Returns:
        A model from ``images`` (n, height, width, channels) to ``logits`` float32 (n, classes).

    Raises:
        InputError: the weights are not the network's.
    """
    network.check_weights(weights)
    graph = _Graph()
    x = "images"
    if uint8_input:
        x = graph.node("Cast", [x], to=TensorProto.FLOAT)
        x = graph.node("Mul", [x, graph.constant("scale", np.float32(1 / 255))])
    channels_last = True
    for layer, before, after in network.steps():
        if isinstance(layer, Conv | MaxPool | AveragePool | BatchNorm) and len(before) == 3:
            if channels_last:
                x = graph.node("Transpose", [x], perm=TO_CHANNELS_FIRST)
                channels_last = False
        elif isinstance(layer, Flatten) and not channels_last:
            x = graph.node("Transpose", [x], perm=TO_CHANNELS_LAST)
            channels_last = True
        x = _add(graph, layer, before, x, weights)
        if layer.name in outputs:
            images = len(after) == 3 and not channels_last
            given = graph.node("Transpose", [x], perm=TO_CHANNELS_LAST) if images else x
            graph.node("Identity", [given], layer.name)
    graph.node("Identity", [x], "logits")

    shapes = {layer.name: after for layer, _, after in network.steps()}
    images_type = TensorProto.UINT8 if uint8_input else TensorProto.FLOAT
    given = {name: shapes[name] for name in outputs} | {"logits": (network.classes,)}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            network.name,
            [helper.make_tensor_value_info("images", images_type, ["n", *network.input_shape])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
                for name, shape in given.items()
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="diptych",
        producer_version=version("diptych"),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants as they are added, each result with a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], name: str = "", **attributes: object) -> str:
        """Adds a node; returns the name of its output."""
        name = name or f"{kind.lower()}:{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """Adds a constant, such as a weight; returns its name."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _add(graph: _Graph, layer: object, before: tuple[int, ...], x: str, weights: Weights) -> str:
    """Adds a layer that takes ``x``; returns what comes out of it."""

    def weight(name: str, axes: tuple[int, ...] | None = None) -> str:
        full = f"{layer.name}/{name}"  # type: ignore[attr-defined]
        value = weights[full]
        return graph.constant(full, value if axes is None else value.transpose(axes))

    match layer:
        case Conv():
            inputs = [x, weight("kernel", (3, 2, 0, 1)), weight("bias")]
            x = graph.node("Conv", inputs, **_window(layer, before))
        case MaxPool():
            return graph.node("MaxPool", [x], **_window(layer, before))
        case AveragePool():
            return graph.node("AveragePool", [x], count_include_pad=0, **_window(layer, before))
        case BatchNorm():
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            inputs = [x, *(weight(name) for name in names)]
            return graph.node("BatchNormalization", inputs, epsilon=layer.epsilon)
        case Dense():
            x = graph.node("Gemm", [x, weight("kernel"), weight("bias")])
        case Flatten():
            return graph.node("Flatten", [x], axis=1)
        case Dropout():
            return x
    if isinstance(layer, Conv | Dense | Activate):
        match layer.activation:
            case "relu":
                return graph.node("Relu", [x])
            case "leaky_relu":
                return graph.node("LeakyRelu", [x], alpha=layer.slope)
            case "elu":
                return graph.node("Elu", [x], alpha=1.0)
            case "gelu":
                return graph.node("Gelu", [x], approximate="none")
            case "tanh":
                return graph.node("Tanh", [x])
    return x


def _window(layer: Conv | MaxPool | AveragePool, before: tuple[int, ...]) -> dict[str, list[int]]:
    """Kernel, strides and pads as ONNX has them: all the firsts, then all the lasts."""
    (top, bottom), (left, right) = layer.pads(before)
    return {
        "kernel_shape": list(layer.window),
        "strides": list(layer.steps),
        "pads": [top, left, bottom, right],
    }
