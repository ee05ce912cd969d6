"""Layers' outputs and gradients at inference, held to TensorFlow, SciPy and finite differences."""

import numpy as np
import pytest
from scipy.ndimage import correlate

from diptych.activations import layer_outputs, logit_gradients
from diptych.data import Data
from diptych.errors import InputError
from diptych.look.kernels import KERNELS
from diptych.network import Network, Weights
from diptych.runs import Run

NORMALISED = Network.from_dict(
    {
        "input_shape": [9, 7, 2],
        "layers": [
            {"kind": "conv", "filters": 4, "kernel": 3, "stride": 2, "padding": "same"},
            {"kind": "batch_norm"},
            {"kind": "activation", "activation": "elu"},
            {"kind": "conv", "filters": 3, "kernel": 2, "padding": "valid"},
            {"kind": "average_pool", "size": 2, "padding": "same"},
            {"kind": "dropout", "rate": 0.5},
            {"kind": "flatten"},
            {"kind": "dense", "units": 5},
            {"kind": "batch_norm"},
            {"kind": "dense", "units": 4},
        ],
    }
)


def lively(network: Network) -> Weights:
    """Weights in float64, with averages and scales that are not 0 and 1."""
    chance = np.random.default_rng(0)
    return {
        name: np.abs(chance.normal(1, 0.3, value.shape))
        if name.endswith(("variance", "gamma"))
        else chance.normal(0, 0.5, value.shape)
        for name, value in network.initial_weights(0).items()
    }


def images(network: Network, count: int = 3) -> np.ndarray:
    shape = (count, *network.input_shape)
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def test_the_last_outputs_are_what_tensorflow_gave(tensorflow_reader: Run, mnist: Data) -> None:
    outputs = layer_outputs(
        tensorflow_reader.network, tensorflow_reader.weights(), mnist.test.images[:50]
    )
    logits, _ = tensorflow_reader.predictions()
    np.testing.assert_allclose(outputs["output"], logits[:50], atol=1e-4)
    shapes = {layer.name: after for layer, _, after in tensorflow_reader.network.steps()}
    assert list(outputs) == ["input", *shapes]
    assert {name: outputs[name].shape[1:] for name in shapes} == shapes


def test_a_convolution_is_a_correlation(mnist: Data) -> None:
    conv = {"kind": "conv", "filters": 1, "kernel": 3, "padding": "same", "activation": "relu"}
    layers = [conv, {"kind": "flatten"}, {"kind": "dense", "units": 2}]
    network = Network.from_dict({"input_shape": [28, 28, 1], "layers": layers})
    kernel, weights = KERNELS["edges"].array, network.initial_weights(0)
    weights["conv_1/kernel"] = kernel[..., None, None]
    pixels = mnist.test.images[:1]
    found = layer_outputs(network, weights, pixels)
    np.testing.assert_allclose(found["input"], pixels / 255, atol=1e-7)
    expected = np.maximum(correlate(pixels[0, ..., 0] / 255, kernel, mode="constant"), 0)
    np.testing.assert_allclose(found["conv_1"][0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("weight", ["conv_1/bias", "batch_norm_1/beta", "conv_2/bias"])
@pytest.mark.parametrize("later", ["dense_1/bias", "batch_norm_2/beta", "output/bias"])
def test_gradients_are_finite_differences(weight: str, later: str) -> None:
    """A bias moves its layer's output everywhere alike, so its slope is the sum of gradients."""
    network, weights = NORMALISED, lively(NORMALISED)
    pixels, classes = images(network), np.array([0, 3, 1])
    gradients = logit_gradients(network, weights, pixels, classes)
    shapes = {name: x.shape for name, x in layer_outputs(network, weights, pixels).items()}
    assert {name: g.shape for name, g in gradients.items()} == shapes
    for each in (weight, later):
        layer, step = each.split("/")[0], 1e-5
        for channel in range(weights[each].size):
            logits = []
            for sign in (1, -1):
                moved = weights | {each: weights[each].copy()}
                moved[each][channel] += sign * step
                outputs = layer_outputs(network, moved, pixels)
                logits.append(outputs["output"][np.arange(3), classes])
            slope = (logits[0] - logits[1]) / (2 * step)
            summed = gradients[layer][..., channel].reshape(3, -1).sum(axis=1)
            np.testing.assert_allclose(summed, slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 9, 7, 2)), np.zeros((1, 7, 9, 2), np.uint8), np.zeros((9, 7, 2), "u1")]
)
def test_other_images_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \(n, 9, 7, 2\)"):
        layer_outputs(NORMALISED, lively(NORMALISED), wrong)
