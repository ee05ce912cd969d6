"""A program: Keras' logits and gradients of the small networks, on the backend of the environment.

One process a backend, since Keras fixes it when it is imported. ``keras_on.py IN OUT``: images and
labels in, the results of each network out, as safetensors.
"""

import sys

from networks import SMALL, lively_weights, small_network
from safetensors.numpy import load_file, save_file

from diptych.recipe import Recipe
from diptych.workflows.keras import Workflow

given, results = load_file(sys.argv[1]), {}
for name in SMALL:
    network = small_network(name)
    workflow = Workflow(network, Recipe(), 0)
    workflow.load(lively_weights(network))
    results[f"{name}/logits"] = workflow.logits(given["images"])
    _, gradients = workflow.loss_and_gradients(given["images"], given["labels"])
    results |= {f"{name}/{key}": gradient for key, gradient in gradients.items()}
save_file(results, sys.argv[2])
