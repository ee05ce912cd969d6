"""A network's predictions by ONNX Runtime, without the framework that it was trained in."""

from collections.abc import Callable

import numpy as np

from diptych import extras
from diptych.formats.onnx.model import INPUT, OUTPUT, onnx_model
from diptych.formats.protocol import in_batches
from diptych.network import Network, Weights


def predictor(
    network: Network, weights: Weights, size: int = 250
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images, uint8 (n, height, width, channels), to logits, float32 (n, classes).

    Args:
        network: any network.
        weights: its weights, in the layout that all workflows share.
        size: images per call of ONNX Runtime.

    Raises:
        InputError: ONNX Runtime is not installed, or the weights are not this network's.
    """
    extras.require("ONNX Runtime", "onnx", "onnxruntime")
    from onnxruntime import InferenceSession

    model = onnx_model(network, weights, uint8_input=True).SerializeToString()
    session = InferenceSession(model, providers=["CPUExecutionProvider"])

    def logits(images: np.ndarray) -> np.ndarray:
        parts = [session.run([OUTPUT], {INPUT: some})[0] for some in in_batches(images, size)]
        return np.concatenate([np.asarray(part) for part in parts])

    return logits
