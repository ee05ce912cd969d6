"""Training: the loss's gradients, and real steps of the user's."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from collections.abc import Collection, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import DRAWING
from diptych.auditing.frameworks.tensorflow.builds import Builds
from diptych.auditing.frameworks.tensorflow.inputs import EXAMPLES
from diptych.auditing.frameworks.tensorflow.network import Network
from diptych.auditing.frameworks.tensorflow.submission import gradients_from
from diptych.auditing.frameworks.tensorflow.trace import Trace, without_dropout
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays

Tensor = Any


class Training:
    """The effect of the user's loss and step on a network."""

    def __init__(self, builds: Builds, network: Network, of: "Training | None" = None) -> None:
        self.builds, self.network = builds, network
        self.submission, self.inputs = builds.first, network.inputs
        self.derivatives: dict[int, Trace] = {}
        if of is not None:
            self.trained, self.keeps_its_dropout = of.trained, of.keeps_its_dropout

    @cached_property
    def trained(self) -> list[str]:
        """The variables whose gradients a step asks for; the trainable ones if it asks for none."""
        x, y = self.inputs.example(self.submission, EXAMPLES)
        side = self.builds.fresh("own gradients")
        with gradients_from(side, None) as asked:
            side.step(self.inputs.feed_x(x), self.inputs.feed_y(y))
        variables = self.submission.variables
        return [n for n, v in variables.items() if v.trainable and (not asked or n in asked)]

    @cached_property
    def keeps_its_dropout(self) -> bool:
        """True if there is dropout in the loss that is not one of TensorFlow's functions."""
        if not any(node.kind in DRAWING for node in self.network.reading.nodes):
            return False
        with without_dropout():
            side = self.builds.fresh("loss")
            trace = Trace(side.loss, [self.inputs.x, self.inputs.y], side.variables)
        before = trace.ancestors([trace.result])
        return any("Random" in o.type for o in trace.operations if o.name in before)

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        if not self.keeps_its_dropout:
            return self.derived(x, targets)
        variables = {name: self.submission.variables[name] for name in self.trained}
        with tf.GradientTape() as tape:
            tape.watch(list(variables.values()))
            trace, feeds = self.network.dropless(self.inputs.feed_x(x), self.inputs.feed_y(targets))
            [loss] = trace.run(feeds, [trace.result.name])
        gradients = tape.gradient(loss, variables)
        return float(loss), {
            name: self.network.to_graph(name, tf.convert_to_tensor(gradient).numpy())
            for name, gradient in gradients.items()
            if gradient is not None
        }

    def derived(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """As `loss_and_gradients`, by a graph that has both: functions may have gradients of their
        own, which are known where they are called and nowhere else."""
        if len(x) not in self.derivatives:
            specs = self.inputs.specs(len(x))
            function = partial(self.submission.loss_and_gradients, self.trained)
            with without_dropout():
                self.derivatives[len(x)] = Trace(function, specs, self.submission.variables)
        trace = self.derivatives[len(x)]
        loss, gradients = trace.result
        feeds = {trace.x.name: self.inputs.feed_x(x), trace.y[0].name: self.inputs.feed_y(targets)}
        value, *values = trace.run(feeds, [loss.name, *(t.name for t in gradients.values())])
        pairs = zip(gradients, values, strict=True)
        return float(value), {name: self.network.to_graph(name, g.numpy()) for name, g in pairs}

    def updates(self, gradients: Sequence[Gradients], keep: Keep = whole) -> list[Arrays]:
        x, y = self.inputs.example(self.submission, EXAMPLES)
        side = self.builds.fresh("given gradients")
        before = self.network.parameters_of(side)
        holders = {name: side.holder(name) for name in at(gradients[0], lambda: before)}

        def answer(name: str) -> Tensor | None:
            return holders[name].read_value() if name in holders else None

        result = []
        with gradients_from(side, answer) as asked:
            for given in gradients:
                for name, value in at(given, lambda: self.network.parameters_of(side)).items():
                    side.hold(holders[name], self.network.from_graph(name, value))
                side.step(self.inputs.feed_x(x), self.inputs.feed_y(y))
                if not asked:
                    raise NotImplementedError("its step takes its gradients in a way of its own")
                after = self.network.parameters_of(side)
                result.append(keep({n: v if n in asked else before[n] for n, v in after.items()}))
        return result

    def steps(
        self, batches: list[tuple[np.ndarray, np.ndarray]], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        return self.stepped(batches, keep)[:2]

    def steps_then_predict(
        self,
        batches: list[tuple[np.ndarray, np.ndarray]],
        keep: Keep,
        x: np.ndarray,
        averages: Collection[str],
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        losses, after, others = self.stepped(batches, keep)
        others = {name: value for name, value in others.items() if name not in averages}
        kept = {name: v.numpy() for name, v in self.submission.variables.items()}
        try:
            self.network.submission.load(kept | others)
            return losses, after, self.network.outputs(x, False, 1)[0]
        finally:
            self.network.submission.load(kept)

    def stepped(
        self, batches: list[tuple[np.ndarray, np.ndarray]], keep: Keep
    ) -> tuple[list[float], list[Arrays], Arrays]:
        """As `steps`, and the values of the variables that are not trained after the last."""
        if self.keeps_its_dropout:
            raise NotImplementedError("its dropout cannot be taken out of its step")
        losses, parameters = [], []
        with without_dropout():
            side = self.builds.fresh("steps")
            for x, targets in batches:
                before = {name: v.numpy() for name, v in side.variables.items()}
                loss = scalar(side.step(self.inputs.feed_x(x), self.inputs.feed_y(targets)))
                losses.append(self.loss_with(before, x, targets) if loss is None else loss)
                parameters.append(keep(self.network.parameters_of(side)))
            others = {n: v.numpy() for n, v in side.variables.items() if n not in self.trained}
        return losses, parameters, others

    def loss_with(self, values: Arrays, x: np.ndarray, targets: np.ndarray) -> float:
        """The training loss with other values in the variables, without dropout."""
        kept = {name: v.numpy() for name, v in self.submission.variables.items()}
        try:
            self.network.submission.load(values)
            trace, feeds = self.network.dropless(self.inputs.feed_x(x), self.inputs.feed_y(targets))
            return float(trace.run(feeds, [trace.result.name])[0])
        finally:
            self.network.submission.load(kept)


def scalar(value: Any) -> float | None:
    """The loss that a step returned, None where it returned none."""
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if value is None or np.size(value) != 1:
        return None
    return float(np.asarray(value).reshape(()))
