"""The output of each layer for images, and the contribution of each value to a class's logit, in
float64.

Both are computed by the reference in `workflows/numpy`, so no framework is loaded and the weights
can come from any workflow. This is meant for one image or a few; for thousands, use the run's
workflow.
"""

import numpy as np

from diptych.errors import InputError
from diptych.network import Network, Weights
from diptych.recipe import Recipe
from diptych.workflows.numpy.workflow import Workflow


def layer_outputs(network: Network, weights: Weights, images: np.ndarray) -> dict[str, np.ndarray]:
    """Each layer's output at inference, after its activation.

    Args:
        network: any network.
        weights: its weights, in the layout that all workflows share.
        images: uint8 (n, height, width, channels), in the form of the network's data.

    Returns:
        float64 (n, …) by layer name, in the network's order, the last one the logits. First comes
        ``input``: the images as the network sees them, in [0, 1] (unless a layer is named so).

    Raises:
        InputError: images or weights are not of this network.
    """
    workflow = _workflow(network, weights, images)
    passed, _ = workflow.run(images, training=False)
    names = ["input", *(layer.name for layer in network.layers)]
    return dict(zip(names, passed, strict=True))


def logit_gradients(
    network: Network, weights: Weights, images: np.ndarray, classes: np.ndarray
) -> dict[str, np.ndarray]:
    """The gradient of one logit of each image to each layer's output, in inference.

    Args:
        network, weights, images: as `layer_outputs` takes them.
        classes: integers (n,): whose logit, for each image.

    Returns:
        float64 (n, …) by layer name, each of the shape that `layer_outputs` gives; ``input`` too.
    """
    workflow = _workflow(network, weights, images)
    _, reverses = workflow.run(images, training=False)
    gradient = np.eye(network.classes)[classes]
    gradients: dict[str, np.ndarray] = {}
    remaining = list(reverses)
    for layer in reversed(network.layers):
        gradients[layer.name] = gradient
        while remaining and remaining[-1][0] == layer.name:
            gradient, _ = remaining.pop()[1](gradient)
    return {"input": gradient} | dict(reversed(gradients.items()))


def _workflow(network: Network, weights: Weights, images: np.ndarray) -> Workflow:
    if images.dtype != np.uint8 or images.shape[1:] != network.input_shape:
        raise InputError(
            f"images: given {images.dtype} {images.shape}, expected uint8 "
            f"(n, {', '.join(map(str, network.input_shape))})"
        )
    workflow = Workflow(network, Recipe(), seed=0)
    workflow.load(weights)
    return workflow
