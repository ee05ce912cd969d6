"""ONNX Runtime computes what the reference computes, layer by layer."""

import sys
from pathlib import Path

import numpy as np
import pytest

from diptych import workflows
from diptych.data import Data
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe

sys.path.insert(0, str(Path(__file__).with_name("workflows")))
from networks import NETWORKS, lively_weights, network_named

ort = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
from diptych.onnx_model import onnx_model  # noqa: E402


@pytest.mark.parametrize("uint8_input", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_the_references(name: str, uint8_input: bool, mnist: Data) -> None:
    network = network_named(name)
    weights, images = lively_weights(network), mnist.test.images[:4]
    names = [layer.name for layer in network.layers]
    model = onnx_model(network, weights, uint8_input=uint8_input, outputs=names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = images if uint8_input else images * np.float32(1 / 255)
    found = dict(zip([*names, "logits"], session.run(None, {"images": given}), strict=True))
    reference = workflows.load("numpy")(network, Recipe(), 0)
    reference.load(weights)
    right = reference.forward(images)  # type: ignore[attr-defined]
    for layer in names:
        assert found[layer].shape == right[layer].shape
        np.testing.assert_allclose(found[layer], right[layer], rtol=1e-4, atol=2e-5)
    np.testing.assert_array_equal(found["logits"], found[names[-1]])


def test_weights_of_another_network_are_refused() -> None:
    weights = Network.load("dense").initial_weights(0)
    with pytest.raises(InputError, match="is missing"):
        onnx_model(Network.load("article"), weights)
