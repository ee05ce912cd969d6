"""The network: read from the graph of the loss, and run in it."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import DRAWING
from diptych.auditing.frameworks.tensorflow import layout
from diptych.auditing.frameworks.tensorflow.builds import Built
from diptych.auditing.frameworks.tensorflow.inputs import EXAMPLES, Inputs
from diptych.auditing.frameworks.tensorflow.output import network_output
from diptych.auditing.frameworks.tensorflow.reader import Reading, matching, read
from diptych.auditing.frameworks.tensorflow.trace import Trace, to_numpy
from diptych.auditing.frameworks.tensorflow.twin import DoubleSubmission, counters
from diptych.auditing.graph import INPUT, Arrays
from diptych.errors import InputError

Tensor = Any


class Network:
    """The network of a submission, as its loss and its logits compute it."""

    def __init__(self, submission: Built, inputs: Inputs, of: "Network | None" = None) -> None:
        """Reads the network, or takes over what was read of the one that it is in float64.

        Raises:
            InputError: the loss makes nothing of x.
        """
        self.submission, self.inputs = submission, inputs
        self._traces: dict[tuple[int, bool], Trace] = {}
        self._counters: dict[tuple[int, bool], list[tf.Variable]] = {}
        """The counters that each trace reads."""
        self._runs = 0  # Of `outputs_in_training`.
        trace = self.trace(EXAMPLES, True)
        if of is None:
            self.output: str = network_output(trace)[0].name
            self.reading = read(trace, trace.tensor(self.output), submission.variables)
        else:
            self.output, self.reading, self.inference = of.output, of.reading, of.inference
            for name in self.reading.outputs.values():
                trace.tensor(name)
        if not self.reading.nodes:
            raise InputError("its loss(x, y) makes nothing of x before it meets y: no network")

    def trace(self, count: int, training: bool) -> Trace:
        """The graph of the loss, or else of the logits, for that size of batch."""
        key = (count, training)
        if key not in self._traces:
            x, y = self.inputs.specs(count)
            function, specs = (
                (self.submission.loss, [x, y]) if training else (self.submission.logits, [x])
            )
            trace = Trace(function, specs, self.submission.variables)
            of_graph = counters(trace.graph, self.submission.variables)
            double = isinstance(self.submission, DoubleSubmission)
            self._traces[key] = trace
            self._counters[key] = self.submission.counters if double else of_graph
        return self._traces[key]

    @cached_property
    def inference(self) -> Reading | None:
        """The graph of the logits with the names of the loss's; None where there are no logits."""
        if self.submission.logits is None:
            return None
        trace = self.trace(EXAMPLES, False)
        trace.check_variables()
        if not isinstance(trace.result, tf.Tensor):
            raise InputError(
                f"its logits(x) returns a {type(trace.result).__name__}: expected a tensor"
            )
        reading = read(trace, trace.result, self.submission.variables)
        return reading.named(matching(self.reading, reading))

    # Parameters.

    def to_graph(self, name: str, value: np.ndarray) -> np.ndarray:
        """A variable's value, or its gradient, in the graph's layout."""
        return layout.to_graph(to_numpy(value), self.reading.layouts.get(name))

    def from_graph(self, name: str, value: np.ndarray) -> np.ndarray:
        shape = self.submission.variables[name].shape
        return layout.from_graph(value, self.reading.layouts.get(name), shape)

    def parameters_of(self, submission: Built) -> Arrays:
        """All variables of a build, in the graph's layout."""
        return {name: self.to_graph(name, v.numpy()) for name, v in submission.variables.items()}

    def load(self, parameters: Arrays) -> None:
        self.submission.load({n: self.from_graph(n, value) for n, value in parameters.items()})

    # Running it.

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        """The output of every node, by its name."""
        if training:
            outputs = self.reading.outputs
            trace = self.trace(len(x), True)
            feeds: dict[str, Any] = {trace.x.name: x}
        elif self.inference is not None:
            outputs = self.inference.outputs
            trace = self.trace(len(x), False)
            feeds = {trace.x.name: x}
        else:
            outputs = self.reading.outputs
            trace, feeds = self.dropless(self.inputs.feed_x(x), None)
        values = trace.run(feeds, list(outputs.values()))
        result = {name: to_numpy(value) for name, value in zip(outputs, values, strict=True)}
        if training:
            return result
        for node in self.reading.nodes:
            if node.kind in DRAWING and node.name not in result:
                given = x if node.inputs[0] == INPUT else result.get(node.inputs[0])
                result |= {} if given is None else {node.name: given}
        return result

    def dropless(self, x: Tensor, y: Tensor | None) -> tuple[Trace, dict[str, Any]]:
        """The loss's graph, and what to feed it so that each dropout gives what it is given."""
        trace = self.trace(len(x), True)
        feeds = {trace.x.name: x} | ({trace.y[0].name: y} if y is not None else {})
        for node in self.reading.nodes:
            if node.kind in DRAWING:
                known = {name: value for name, value in feeds.items() if name != trace.y[0].name}
                [value] = trace.run(known, self.reading.inputs[node.name])
                feeds[self.reading.outputs[node.name]] = value
        return trace, feeds

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        reading = self.reading if training or self.inference is None else self.inference
        node = next((node for node in self.reading.nodes if node.name == name), None)
        if not training and node and (node.kind in DRAWING or name not in reading.outputs):
            return to_numpy(inputs[0])
        trace = self.trace(len(inputs[0]), reading is self.reading)
        feeds = dict(zip(reading.inputs[name], inputs, strict=True))
        return to_numpy(trace.run(feeds, [reading.outputs[name]])[0])

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        trace = self.trace(len(outputs), True)
        nothing = np.zeros(trace.x.shape)
        given = {trace.x.name: nothing, trace.y[0].name: self.inputs.feed_y(targets)}
        given[self.reading.outputs[self.reading.nodes[-1].name]] = outputs
        return float(trace.run(given, [trace.result.name])[0])

    def outputs(self, x: np.ndarray, training: bool, runs: int) -> np.ndarray:
        """The outputs of the network, (runs, n, …).

        In inference the user's ``logits`` is called; without one, the network of the loss with
        dropout off. In training the network is a part of the loss, which runs in its own graph with
        the random numbers that it draws. Counters that it reads increase by one from run to run, as
        from step to step, and from call to call.
        """
        feed = self.inputs.feed_x(x)
        if training:
            return self.outputs_in_training(feed, runs)
        if self.submission.logits is None:
            trace, feeds = self.dropless(feed, None)
            return np.stack([to_numpy(trace.run(feeds, [self.output])[0])] * runs)
        if isinstance(self.submission, DoubleSubmission):
            trace = self.trace(len(x), False)
            feeds, name = {trace.x.name: feed}, trace.result.name
            return np.stack([to_numpy(trace.run(feeds, [name])[0]) for _ in range(runs)])
        return np.stack([to_numpy(self.submission.logits(feed)) for _ in range(runs)])

    def outputs_in_training(self, x: Tensor, runs: int) -> np.ndarray:
        """As `outputs`, for a batch as the loss takes it."""
        trace = self.trace(len(x), True)
        moved = self._counters[len(x), True]
        before, results = [counter.numpy() for counter in moved], []
        # A call that began where the last one did would draw the same random numbers again.
        for counter in moved:
            counter.assign_add(tf.cast(self._runs, counter.dtype))
        self._runs += runs
        try:
            for _ in range(runs):
                [output] = trace.run({trace.x.name: x}, [self.output])
                results.append(to_numpy(output))
                for counter in moved:
                    counter.assign_add(1)
        finally:
            for counter, value in zip(moved, before, strict=True):
                counter.assign(value)
        return np.stack(results)
