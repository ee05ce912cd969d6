"""The ONNX model computes what the reference computes, layer by layer, in ONNX Runtime."""

from typing import Any

import numpy as np
import pytest

from diptych.data import Data
from diptych.data.batches import to_float
from diptych.errors import InputError
from diptych.formats.onnx.model import layer_output, onnx_model
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.numpy.workflow import Workflow

pytest.importorskip("onnx", reason="needs diptych[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs diptych[onnx]")

CONV = {"kind": "conv", "filters": 3, "kernel": [3, 4], "padding": "same"}
OUT = [{"kind": "flatten"}, {"kind": "dense", "units": 10}]
ACTIVATIONS = ["linear", "relu", "elu", "gelu", "tanh", "leaky_relu"]


def activated(activation: str) -> dict[str, Any]:
    return {"activation": activation} | ({"slope": 0.1} if activation == "leaky_relu" else {})


LAYERS: dict[str, list[dict[str, Any]]] = {
    **{name: [CONV | activated(name), *OUT] for name in ACTIVATIONS},
    **{
        f"{kind} {padding} {size} by {stride}": [
            CONV,
            {"kind": kind, "size": size, "stride": stride, "padding": padding},
            *OUT,
        ]
        for kind in ("max_pool", "average_pool")
        for padding in ("same", "valid")
        for size, stride in ((3, 2), (2, 3), (3, 1))
    },
    "conv same, uneven stride": [CONV | {"stride": [2, 3]}, *OUT],
    "conv valid": [CONV | {"padding": "valid"}, *OUT],
    "batch norm of images and of flat values": [
        CONV,
        {"kind": "batch_norm", "epsilon": 0.01},
        {"kind": "activation", "activation": "gelu"},
        {"kind": "dropout", "rate": 0.5},
        {"kind": "flatten"},
        {"kind": "batch_norm"},
        {"kind": "dense", "units": 7} | activated("leaky_relu"),
        {"kind": "dense", "units": 10},
    ],
    "names that the model has too": [
        CONV | {"name": "images"},
        {"kind": "flatten", "name": "output"},
        {"kind": "dense", "units": 10, "name": "logits"},
    ],
    "flattened twice, dropout first": [
        {"kind": "dropout", "rate": 0.5},
        {"kind": "flatten"},
        *OUT,
    ],
}


def network_of(layers: list[dict[str, Any]], shape: tuple[int, int, int]) -> Network:
    return Network.from_dict({"name": "n", "input_shape": list(shape), "layers": layers})


def lively(network: Network) -> Weights:
    """Weights without the zeros and ones of a start, which would hide an error in their use."""
    chance = np.random.Generator(np.random.Philox(5))
    return {
        name: (
            chance.uniform(0.5, 2, shape)
            if name.endswith("moving_variance")
            else chance.normal(0, 0.3, shape)
        ).astype(np.float32)
        for name, shape in network.weight_shapes().items()
    }


def run(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images}), strict=True))


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 14, 3)], ids=str)
def test_every_layer_is_the_references(
    layers: list[dict[str, Any]], shape: tuple[int, int, int], mnist: Data
) -> None:
    network = network_of(layers, shape)
    weights = lively(network)
    if shape == mnist.image_shape:
        images = mnist.test.images[:3]
    else:
        images = np.random.default_rng(1).integers(0, 256, (3, *shape), np.uint8)
    reference = Workflow(network, Recipe(), 0)
    reference.load(weights)
    expected = reference.forward(images)

    given = run(onnx_model(network, weights, every_layer=True, uint8_input=True), images)

    assert given.keys() == {"logits", *map(layer_output, expected)}
    for name, values in expected.items():
        got = given[layer_output(name)]
        assert got.dtype == np.float32 and got.shape == values.shape
        assert np.abs(got - values).max() <= 2e-5 * max(1, np.abs(values).max()), name
    assert np.array_equal(given["logits"], given[layer_output(network.layers[-1].name)])

    scaled = run(onnx_model(network, weights), to_float(images))
    assert scaled.keys() == {"logits"}
    assert np.allclose(scaled["logits"], given["logits"], rtol=1e-5, atol=1e-5)


def test_any_number_of_images() -> None:
    network = network_of([CONV, *OUT], (28, 28, 1))
    model = onnx_model(network, lively(network), uint8_input=True)
    for count in (0, 1, 17):
        assert run(model, np.zeros((count, 28, 28, 1), np.uint8))["logits"].shape == (count, 10)


def test_weights_of_another_network_are_refused() -> None:
    network = network_of([CONV, *OUT], (28, 28, 1))
    with pytest.raises(InputError, match="conv_1/bias is missing"):
        onnx_model(network, {"output/bias": np.zeros(10, np.float32)})
