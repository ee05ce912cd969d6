"""A network and its weights as an ONNX model, for inference.

ONNX's operators are at https://onnx.ai/onnx/operators. Its images have channels first; ours have
them last, so the graph transposes once at the start, and back before it flattens.
"""

from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from diptych import extras
from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Shape,
)
from diptych.network import Network, Weights

if TYPE_CHECKING:
    import onnx

OPSET = 20
"""The first that has Gelu."""
IR_VERSION = 9
"""The file format that came with that opset; a newer one would shut out older readers."""

INPUT, OUTPUT = "images", "logits"


def layer_output(layer: str) -> str:
    """The name in the model of a layer's output."""
    return f"{layer}/output"  # What is of no layer is named without one before the slash.


def onnx_model(
    network: Network, weights: Weights, *, every_layer: bool = False, uint8_input: bool = False
) -> "onnx.ModelProto":
    """The network at inference, for any number of images at once.

    Args:
        network: what to build; dropout passes its input on.
        weights: in the shared layout, by ``layer/weight``.
        every_layer: give each layer's output as well, named by `layer_output`, as float32
            (n, height, width, channels) or (n, units), its activation applied.
        uint8_input: take pixels from 0 to 255 as uint8, and multiply them by float32(1/255) in the
            graph. Otherwise the images are float32 that have been multiplied already.

    Returns:
        A model from ``images`` (n, height, width, channels) to ``logits`` (n, classes), float32.

    Raises:
        InputError: the weights are not this network's, or ONNX is not installed.
    """
    extras.require("an ONNX model", "onnx")
    from onnx import TensorProto, checker, helper

    network.check_weights(weights)
    graph = _Graph()

    x = INPUT
    if uint8_input:
        scale = graph.constant("/scale", np.array(1 / 255, np.float32))
        x = graph.add("Cast", "/cast", x, to=TensorProto.FLOAT)
        x = graph.add("Mul", "/scaled", x, scale)
    x = graph.add("Transpose", "/channels_first", x, perm=[0, 3, 1, 2])
    shown = []
    for layer, before, after in network.steps():
        x = _layer(graph, layer, before, weights, x)
        if every_layer:
            name = layer_output(layer.name)
            if len(after) == 3:
                graph.add("Transpose", name, x, perm=[0, 2, 3, 1])
            else:
                graph.add("Identity", name, x)
            shown.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *after]))
    graph.add("Identity", OUTPUT, x)

    kind = TensorProto.UINT8 if uint8_input else TensorProto.FLOAT
    images = helper.make_tensor_value_info(INPUT, kind, ["n", *network.input_shape])
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", network.classes])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, network.name or "network", [images], [logits, *shown], graph.constants
        ),
        producer_name="diptych",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes in the order in which they compute; each output is known by the name it was given."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, output: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        whole = np.asarray(value, np.float32, order="C")
        self.constants.append(numpy_helper.from_array(whole, name))
        return name


def _layer(graph: _Graph, layer: Layer, before: Shape, weights: Weights, x: str) -> str:
    """Adds what the layer does to ``x``; returns the name of its output, channels first."""

    def weight(name: str, *axes: int) -> str:
        value = weights[f"{layer.name}/{name}"]
        return graph.constant(f"{layer.name}/{name}", value.transpose(axes) if axes else value)

    match layer:
        case Conv():
            kernel, bias = weight("kernel", 3, 2, 0, 1), weight("bias")
            y = graph.add("Conv", f"{layer.name}/sum", x, kernel, bias, **_window(layer, before))
            return _activate(graph, layer, y)
        case Dense():
            y = graph.add("Gemm", f"{layer.name}/sum", x, weight("kernel"), weight("bias"))
            return _activate(graph, layer, y)
        case Activate():
            return _activate(graph, layer, x)
        case MaxPool():
            return graph.add("MaxPool", f"{layer.name}/pool", x, **_window(layer, before))
        case AveragePool():
            window = _window(layer, before)
            return graph.add("AveragePool", f"{layer.name}/pool", x, count_include_pad=0, **window)
        case BatchNorm():
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            inputs = [weight(name) for name in names]
            name = f"{layer.name}/normal"
            return graph.add("BatchNormalization", name, x, *inputs, epsilon=layer.epsilon)
        case Flatten():
            if len(before) == 3:
                x = graph.add("Transpose", f"{layer.name}/transpose", x, perm=[0, 2, 3, 1])
            return graph.add("Flatten", f"{layer.name}/flat", x, axis=1)
        case Dropout():
            return x
        case _:
            assert_never(layer)


def _window(layer: Conv | MaxPool | AveragePool, before: Shape) -> dict[str, list[int]]:
    """The window as ONNX has it; padding in pixels, all tops and lefts first."""
    (top, bottom), (left, right) = layer.pads(before)
    return {
        "kernel_shape": list(layer.window),
        "strides": list(layer.steps),
        "pads": [top, left, bottom, right],
    }


def _activate(graph: _Graph, layer: Conv | Dense | Activate, x: str) -> str:
    name = f"{layer.name}/{layer.activation}"
    match layer.activation:
        case "relu":
            return graph.add("Relu", name, x)
        case "leaky_relu":
            return graph.add("LeakyRelu", name, x, alpha=layer.slope)
        case "elu":
            return graph.add("Elu", name, x, alpha=1.0)
        case "gelu":
            return graph.add("Gelu", name, x, approximate="none")
        case "tanh":
            return graph.add("Tanh", name, x)
        case "linear":
            return x
