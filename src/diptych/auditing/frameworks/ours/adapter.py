"""The reference workflow, in NumPy and float64, read from the network's own description."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from diptych.auditing.frameworks.ours.described import (
    RESCALE,
    batches_of,
    batches_over,
    changes,
    graph_of,
    horizon_of,
    nodes_of,
    optimiser_of,
)
from diptych.auditing.frameworks.ours.submission import scaled, settings_of
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays, Graph
from diptych.errors import InputError
from diptych.network import Weights
from diptych.workflows.numpy.workflow import Workflow

Build = Callable[[int], tuple[Workflow, np.ndarray]]


class Adapter:
    """A side that is `diptych.workflows.numpy`; see `diptych.auditing.frameworks.protocol`.

    Built from `diptych.auditing.frameworks.ours.submission.with_rates`.
    """

    trains = True
    prepares = True
    targets = "classes"

    def __init__(self, build: Build) -> None:
        self.build = build
        self.framework = f"NumPy {np.__version__}"
        given = build(0)
        if not isinstance(given, tuple) or not isinstance(given[0], Workflow):
            raise InputError(f"given a {type(given).__name__}: expected NumPy's workflow")
        self.workflow, self.every_rate = exact(given[0]), given[1]
        self.runs_in_training = 0
        self.parts = [
            (layer, nodes_of(layer, before, after))
            for layer, before, after in self.workflow.network.steps()
        ]

    def graph(self) -> Graph:
        return graph_of(self.workflow.network)

    # Parameters.

    def parameters(self) -> Arrays:
        return copied(self.workflow.values)

    def load(self, parameters: Arrays) -> None:
        self.workflow.load(self.workflow.values | parameters)

    def fresh(self, dropout: bool) -> Workflow:
        """A build with the present parameters and a fresh optimiser."""
        workflow = self.build(0)[0]
        if not dropout:
            network = workflow.network.with_dropout_scaled(0)
            workflow = Workflow(network, workflow.recipe, workflow.seed)
        workflow.load(self.workflow.values)
        return exact(workflow)

    def initial(self, draws: int) -> list[Arrays]:
        return [copied(self.build(seed)[0].values) for seed in range(1, draws + 1)]

    # Running it.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        value = scaled(x, np.float64)
        result = {RESCALE: value}
        for layer, part in self.parts:
            operations = self.workflow.operations(layer, training)
            for (name, *_), operation in zip(part, operations, strict=False):
                value = operation(value)[0]
                result[name] = value
            if not operations:  # Dropout, where nothing is dropped.
                result[part[0][0]] = value
        return result | (self.moved_averages(x) if training else {})

    def moved_averages(self, x: np.ndarray) -> Arrays:
        """The moving averages after a step on x, as ``parameter:NAME``."""
        names = [name for name in self.workflow.values if "/moving_" in name]
        if not names:
            return {}
        workflow = self.fresh(dropout=True)
        workflow.train_step(x, np.zeros(len(x), np.int64), 0.0)
        return {f"parameter:{name}": workflow.values[name] for name in names}

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        value = inputs[0].astype(np.float64)
        if name == RESCALE:
            return scaled(inputs[0], np.float64)
        for layer, part in self.parts:
            names = [node[0] for node in part]
            if name in names:
                operations = self.workflow.operations(layer, training)
                return operations[names.index(name)](value)[0] if operations else value
        raise KeyError(name)

    def prepare(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images, labels.astype(np.int64)

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """The logits, (runs, n, classes); each run in training has dropout of its own, in this
        call and in those after it."""
        workflow, result = self.fresh(dropout=True), []
        first = self.runs_in_training
        self.runs_in_training += runs if training else 0
        for run in range(first, first + runs):
            workflow.steps_taken = run
            result.append(workflow.run(x, training)[0][-1])
        return np.stack(result)

    def twin(self) -> "Adapter":
        """Another side with the same parameters: this one is in float64 already."""
        twin = Adapter(self.build)
        twin.load(self.parameters())
        return twin

    # Training it.

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        return float(self.workflow.loss(outputs.astype(np.float64), targets)[0])

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        loss, gradients, _ = self.fresh(dropout=False).backward(x, targets)
        return loss, gradients

    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> list[Arrays]:
        workflow, result = self.fresh(dropout=True), []
        for step, given in enumerate(gradients, 1):
            here = at(given, lambda: workflow.values)
            exact = {name: value.astype(np.float64) for name, value in here.items()}
            workflow.adam.apply(workflow.values, exact, float(self.every_rate[step - 1]), step)
            result.append(keep(workflow.values))
        return result

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        workflow = self.fresh(dropout=False)
        losses, parameters = [], []
        for rate, (x, targets) in zip(self.every_rate, batches, strict=False):
            losses.append(workflow.train_step(x, targets, float(rate))[0])
            parameters.append(keep(workflow.values))
        return losses, parameters

    def optimiser(self) -> dict[str, Any]:
        return optimiser_of(self.workflow.recipe, self.every_rate)

    def horizon(self) -> dict[str, Any]:
        return horizon_of(self.workflow.recipe)

    def rates(self, steps: int) -> list[tuple[int, list[float]]]:
        return changes(self.every_rate, steps)

    def settings(self) -> dict[str, str]:
        return settings_of(self.workflow.recipe)

    def batches(self, count: int, epochs: int) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        workflow = self.workflow
        return batches_of(workflow.network, workflow.recipe, workflow.seed, count, epochs)

    def batches_of(
        self, x: np.ndarray, y: np.ndarray, epochs: int
    ) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        return batches_over(x, y, self.workflow.recipe, self.workflow.seed, epochs)


def copied(values: Weights) -> Arrays:
    return {name: value.copy() for name, value in values.items()}


def exact(workflow: Workflow) -> Workflow:
    """The workflow with images scaled in float64, as the twins of all others have them."""
    workflow.pixels = lambda images: scaled(images, np.float64)
    return workflow
