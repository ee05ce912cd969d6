"""The workflow in JAX: its own functions, run with what an audit gives them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import jax
import numpy as np

from diptych.auditing.frameworks.ours.described import RESCALE, batches_of, graph_of, optimiser_of
from diptych.auditing.graph import Arrays, Graph
from diptych.data.batches import to_float
from diptych.errors import InputError
from diptych.network import Activate, Conv, Dense, Layer, Network
from diptych.workflows.jax import model, training
from diptych.workflows.jax.workflow import Workflow

Build = Callable[[int], tuple[Workflow, np.ndarray]]


class Adapter:
    """A side that is `diptych.workflows.jax`; see `diptych.auditing.frameworks.protocol`.

    Built from `diptych.auditing.frameworks.ours.submission.with_rates`.
    """

    trains = True
    prepares = True
    targets = "classes"

    def __init__(self, build: Build) -> None:
        self.build = build
        self.framework = f"JAX {jax.__version__}"
        given = build(0)
        if not isinstance(given, tuple) or not isinstance(given[0], Workflow):
            raise InputError(f"given a {type(given).__name__}: expected JAX' workflow")
        self.workflow, self.rates = given
        self.network, self.recipe = self.workflow.network, self.workflow.recipe
        self.parted, self.nodes = parted(self.network)

    def graph(self) -> Graph:
        return graph_of(self.network)

    # Parameters.

    def parameters(self) -> Arrays:
        return self.workflow.weights()

    def load(self, parameters: Arrays) -> None:
        self.workflow.load(self.parameters() | parameters)

    def fresh(self, dropout: bool) -> Workflow:
        """A build with the present parameters and a fresh optimiser."""
        workflow = self.build(0)[0]
        if not dropout:
            network = workflow.network.with_dropout_scaled(0)
            workflow = Workflow(network, workflow.recipe, workflow.seed)
        workflow.load(self.parameters())
        return workflow

    def initial(self, draws: int) -> list[Arrays]:
        return [self.build(seed)[0].weights() for seed in range(1, draws + 1)]

    # Running it.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        now = self.workflow.training
        run = jax.jit(partial(model.forward, self.parted, self.dtype(training)))
        key = self.workflow.key if training else None
        outputs, moving = run(now.trained | now.moving, x, key)
        result = {RESCALE: to_float(x)}
        result |= {self.nodes[name]: as_float32(value) for name, value in outputs.items()}
        averages = {f"parameter:{name}": as_float32(value) for name, value in moving.items()}
        return result | (averages if training else {})

    def dtype(self, training: bool) -> str:
        """What the workflow computes in; its inference is always in float32."""
        return self.recipe.precision if training else "float32"

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        raise KeyError(name)  # For custom nodes, which the graph has none of.

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images, labels.astype(np.int64)

    # Training it.

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        last = self.network.layers[-1].name
        with patch.object(model, "forward", lambda *_: ({last: outputs}, {})):
            key = self.workflow.key
            return float(model.loss_of({}, {}, self.network, "", outputs, targets, key)[0])

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.fresh(dropout=False).loss_and_gradients(x, targets)

    def updates(self, gradients: list[Arrays]) -> list[Arrays]:
        workflow, result = self.fresh(dropout=True), []
        train_step: Any = training.train_step
        step = train_step.__wrapped__  # Not compiled: each has gradients of its own.
        for rate, given in zip(self.rates, gradients, strict=False):
            now = workflow.training
            measured = ((0.0, (0.0, now.moving)), {name: given[name] for name in now.trained})
            with patch.object(training, "gradients_of", lambda *_, m=measured: m):
                workflow.training, _ = step(
                    now, self.network, self.recipe, frozenset(), (), (), rate, workflow.key
                )
            result.append(workflow.weights())
        return result

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[list[float], list[Arrays]]:
        workflow = self.fresh(dropout=False)
        losses, parameters = [], []
        for rate, (x, targets) in zip(self.rates, batches, strict=False):
            (loss,), _ = workflow.take(x[None], targets[None], np.array([rate]))
            losses.append(float(loss))
            parameters.append(workflow.weights())
        return losses, parameters

    def optimiser(self) -> dict[str, Any]:
        return optimiser_of(self.recipe, self.rates)

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        return batches_of(self.network, self.recipe, self.workflow.seed, count, epochs)


def as_float32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


def parted(network: Network) -> tuple[Network, dict[str, str]]:
    """The same network with each activation as a layer of its own, and the nodes that `graph_of`
    has for its layers, by their names."""
    layers: list[Layer] = []
    nodes = {layer.name: layer.name for layer in network.layers}
    for layer in network.layers:
        if isinstance(layer, Conv | Dense) and layer.activation != "linear":
            name = f"{layer.name}_activation"
            while name in nodes:
                name += "_"
            nodes[name] = f"{layer.name}/activation"
            layers.append(layer.model_copy(update={"activation": "linear", "slope": None}))
            layers.append(Activate(name=name, activation=layer.activation, slope=layer.slope))
        else:
            layers.append(layer)
    return Network(input_shape=network.input_shape, layers=tuple(layers)), nodes
