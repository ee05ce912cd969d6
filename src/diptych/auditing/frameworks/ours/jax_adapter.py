"""The workflow in JAX: its own functions, run with what an audit gives them."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from unittest.mock import patch

import jax
import numpy as np

from diptych.auditing.frameworks.ours.described import (
    RESCALE,
    batches_of,
    batches_over,
    changes,
    graph_of,
    horizon_of,
    optimiser_of,
)
from diptych.auditing.frameworks.ours.submission import scaled, settings_of
from diptych.auditing.frameworks.precision import within
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError
from diptych.layers import Activate, Conv, Dense, Layer
from diptych.network import Network
from diptych.workflows.jax import model, training
from diptych.workflows.jax.workflow import Workflow

Build = Callable[[int], tuple[Workflow, np.ndarray]]
in_own_precision = within(lambda owner: jax.enable_x64(owner.dtype == np.float64))
"""Has JAX know float64 while a method of a twin runs, and nothing else of the process."""


class Adapter:
    """A side that is `diptych.workflows.jax`; see `diptych.auditing.frameworks.protocol`.

    Built from `diptych.auditing.frameworks.ours.submission.with_rates`.
    """

    trains = True
    prepares = True
    targets = "classes"

    def __init__(self, build: Build, dtype: type = np.float32) -> None:
        """Builds the side, in float32 or as a twin in float64."""
        self.build, self.dtype = build, dtype
        self.framework = f"JAX {jax.__version__}" + " in float64" * (dtype == np.float64)
        given = build(0)
        if not isinstance(given, tuple) or not isinstance(given[0], Workflow):
            raise InputError(f"given a {type(given).__name__}: expected JAX' workflow")
        self.every_rate = given[1].astype(dtype)
        self.runs_in_training = 0
        self.workflow = self.made(0)
        self.network, self.recipe = self.workflow.network, self.workflow.recipe
        self.parted, self.nodes = parted(self.network)

    def graph(self) -> Graph:
        return graph_of(self.network)

    def twin(self) -> "Adapter":
        """The workflow with all its arrays in float64, and the same parameters."""
        twin = Adapter(self.build, np.float64)
        twin.load(self.parameters())
        return twin

    # Parameters.

    @in_own_precision
    def parameters(self) -> Arrays:
        return self.workflow.weights()

    @in_own_precision
    def load(self, parameters: Arrays) -> None:
        values = self.parameters() | parameters
        self.workflow.load({name: value.astype(self.dtype) for name, value in values.items()})

    @in_own_precision
    def made(self, seed: int, dropout: bool = True) -> Workflow:
        """A build of the workflow in the side's precision."""
        workflow = self.build(seed)[0]
        network, recipe = workflow.network, workflow.recipe
        if self.dtype == np.float64:  # No recipe can ask for it.
            recipe = recipe.model_copy(update={"precision": "float64"})
        if not dropout:
            network = network.with_dropout_scaled(0)
        made = Workflow(network, recipe, workflow.seed)
        made.load(workflow.weights())
        if self.dtype == np.float64:
            made.training = jax.tree.map(widened, made.training)
        return made

    @in_own_precision
    def fresh(self, dropout: bool) -> Workflow:
        """A build with the present parameters and a fresh optimiser."""
        workflow = self.made(0, dropout)
        workflow.load(self.parameters())
        return workflow

    @in_own_precision
    def initial(self, draws: int) -> list[Arrays]:
        return [self.made(seed).weights() for seed in range(1, draws + 1)]

    # Running it.

    @in_own_precision
    def record(self, x: np.ndarray, training: bool) -> Arrays:
        now = self.workflow.training
        run = jax.jit(partial(model.forward, self.parted, self.precision(training)))
        key = self.workflow.key if training else None
        outputs, moving = run(now.trained | now.moving, x, key)
        result = {RESCALE: scaled(x, self.dtype)}
        result |= {self.nodes[n]: np.asarray(value, self.dtype) for n, value in outputs.items()}
        averages = {f"parameter:{n}": np.asarray(v, self.dtype) for n, v in moving.items()}
        return result | (averages if training else {})

    def precision(self, training: bool) -> str:
        """The precision of the workflow; its inference is in float32, or a twin's in float64."""
        return self.recipe.precision if training else np.dtype(self.dtype).name

    @in_own_precision
    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """The logits, (runs, n, classes); each run in training has dropout of its own, in this
        call and in those after it."""
        now, last = self.workflow.training, self.network.layers[-1].name
        run = jax.jit(partial(model.forward, self.network, self.precision(training)))
        result = []
        first = self.runs_in_training
        self.runs_in_training += runs if training else 0
        for number in range(first, first + runs):
            key = jax.random.fold_in(self.workflow.key, number) if training else None
            outputs, _ = run(now.trained | now.moving, x, key)
            result.append(np.asarray(outputs[last], self.dtype))
        return np.stack(result)

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        raise KeyError(name)  # For custom nodes, which the graph has none of.

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images, labels.astype(np.int64)

    # Training it.

    @in_own_precision
    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        last = self.network.layers[-1].name
        with patch.object(model, "forward", lambda *_: ({last: outputs}, {})):
            key = self.workflow.key
            return float(model.loss_of({}, {}, self.network, "", outputs, targets, key)[0])

    @in_own_precision
    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        return self.fresh(dropout=False).loss_and_gradients(x, targets)

    @in_own_precision
    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> list[Arrays]:
        workflow, result = self.fresh(dropout=True), []
        train_step: Any = training.train_step
        step = train_step.__wrapped__  # Not compiled: each has gradients of its own.
        for rate, given in zip(self.every_rate, gradients, strict=False):
            now, arrays = workflow.training, at(given, workflow.weights)
            measured = (
                (0.0, (0.0, now.moving)),
                {name: arrays[name].astype(self.dtype) for name in now.trained},
            )
            with patch.object(training, "gradients_of", lambda *_, m=measured, **__: m):
                workflow.training, _ = step(
                    now, self.network, self.recipe, frozenset(), (), (), rate, workflow.key
                )
            result.append(keep(workflow.weights()))
        return result

    @in_own_precision
    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        workflow = self.fresh(dropout=False)
        losses, parameters = [], []
        for rate, (x, targets) in zip(self.every_rate, batches, strict=False):
            (loss,), _ = workflow.take(x[None], targets[None], np.array([rate]))
            losses.append(float(loss))
            parameters.append(keep(workflow.weights()))
        return losses, parameters

    def optimiser(self) -> dict[str, Any]:
        return optimiser_of(self.recipe, self.every_rate)

    def horizon(self) -> dict[str, Any]:
        return horizon_of(self.recipe)

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        return changes(self.every_rate, steps)

    def settings(self) -> dict[str, str]:
        return settings_of(self.recipe)

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        return batches_of(self.network, self.recipe, self.workflow.seed, count, epochs)

    def batches_of(
        self, x: np.ndarray, y: np.ndarray, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        return batches_over(x, y, self.recipe, self.workflow.seed, epochs)


def widened(value: jax.Array) -> jax.Array:
    """A floating-point array in float64, another one as it is."""
    floating = jax.numpy.issubdtype(value.dtype, jax.numpy.floating)
    return value.astype(np.float64) if floating else value


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
