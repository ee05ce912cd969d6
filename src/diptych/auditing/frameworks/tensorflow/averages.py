"""Moving averages of batch normalisation: which variables they are, and how they move."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from dataclasses import replace
from functools import cached_property

import numpy as np

from diptych.auditing.frameworks.tensorflow.builds import Builds
from diptych.auditing.frameworks.tensorflow.inputs import EXAMPLES
from diptych.auditing.frameworks.tensorflow.network import Network
from diptych.auditing.frameworks.tensorflow.operations.normalisation import spread
from diptych.auditing.frameworks.tensorflow.trace import without_dropout
from diptych.auditing.graph import Arrays, Graph, Node


class Averages:
    """The effect of real steps on moving averages, which the graph of a loss does not show."""

    def __init__(self, builds: Builds, network: Network) -> None:
        self.builds, self.network = builds, network
        self.submission, self.inputs = builds.first, network.inputs

    @cached_property
    def graph(self) -> Graph:
        """The network's graph, with the averages in its batch normalisations."""
        nodes = [
            self.with_averages(node) if node.kind == "batch_norm" else node
            for node in self.network.reading.nodes
        ]
        return Graph(tuple(int(size) for size in self.inputs.x.shape[1:]), tuple(nodes))

    def with_averages(self, node: Node) -> Node:
        """A batch normalisation with its moving averages and how they move, from a real step."""
        x, before, after = self.one_step
        trace, feeds = self.network.dropless(self.inputs.feed_x(x), None)
        [normalised] = trace.run(feeds, self.network.reading.inputs[node.name])
        inputs = normalised.numpy().astype(np.float64)
        batch = {"mean": inputs.mean(spread(inputs)), "variance": inputs.var(spread(inputs))}
        parameters = self.at_inference(node) | node.parameters
        share, shares = 0.0, {}
        for role, value in batch.items():
            given = parameters.get(role)
            names = [given] if given else self.unread
            fitted = {n: moved(before[n], after[n], value) for n in names}
            fitted = {n: s for n, s in fitted.items() if s is not None}
            if fitted:
                parameters[role], shares[role] = next(iter(fitted.items()))
        if not {"mean", "variance"} <= parameters.keys():
            own = {str(i): name for i, name in enumerate(node.parameters.values())}
            return replace(
                node, kind="custom", attributes={"class": "batch norm, no averages"}, parameters=own
            )
        share = shares.get("mean", 0.0)
        count = inputs.size / inputs.shape[-1]
        ratio = shares["variance"] / share if share and "variance" in shares else 1.0
        unbiased = abs(ratio - count / (count - 1)) < abs(ratio - 1)
        attributes = {
            "epsilon": node.attributes["epsilon"],
            "momentum": round(1 - share, 6),
            "unbiased": bool(unbiased),
        }
        order = [r for r in ("gamma", "beta", "mean", "variance") if r in parameters]
        return replace(
            node, attributes=attributes, parameters={role: parameters[role] for role in order}
        )

    def at_inference(self, node: Node) -> dict[str, str]:
        """The moving averages that inference reads in the place of the batch's, by role."""
        nodes = self.network.inference.nodes if self.network.inference else []
        same = [n for n in nodes if n.name == node.name and n.kind == "batch_norm"]
        roles = same[0].parameters if same else {}
        return {role: roles[role] for role in ("mean", "variance") if role in roles}

    @cached_property
    def unread(self) -> list[str]:
        """The vectors that the loss does not depend on; moving averages are among them."""
        trace = self.network.trace(EXAMPLES, True)
        before = trace.ancestors([trace.result])
        known = {name for operation, name in trace.variables.items() if operation in before}
        return [
            name
            for name, variable in self.submission.variables.items()
            if name not in known and variable.shape.rank == 1 and variable.dtype.is_floating
        ]

    @cached_property
    def one_step(self) -> tuple[np.ndarray, Arrays, Arrays]:
        """x, and all variables before and after a step on it without dropout.

        The averages start from zero: what they are afterwards is the batch's share.
        """
        x, y = self.inputs.example(self.submission, EXAMPLES)
        with without_dropout():
            side = self.builds.fresh("one step")
            side.load({name: np.zeros(side.variables[name].shape) for name in self.unread})
            before = {name: v.numpy() for name, v in side.variables.items()}
            side.step(self.inputs.feed_x(x), self.inputs.feed_y(y))
        return x, before, {name: v.numpy() for name, v in side.variables.items()}

    def moved_averages(self, x: np.ndarray) -> Arrays:
        """The moving averages after a real step on x, as ``parameter:NAME``."""
        averages = [
            name
            for node in self.graph.nodes
            if node.kind == "batch_norm"
            for role, name in node.parameters.items()
            if role in ("mean", "variance")
        ]
        if not averages:
            return {}
        side = self.builds.fresh("averages")
        _, y = self.inputs.example(self.submission, len(x))
        side.step(self.inputs.feed_x(x), self.inputs.feed_y(y))
        return {
            f"parameter:{n}": self.network.to_graph(n, side.variables[n].numpy()) for n in averages
        }


def moved(before: np.ndarray, after: np.ndarray, batch: np.ndarray) -> float | None:
    """The share of the batch in what an average became; None where it is no average of it."""
    if after.shape != batch.shape:
        return None
    way, whole = after.astype(np.float64) - before, batch - before
    share = float(np.sum(way * whole) / max(float(np.sum(whole**2)), 1e-30))
    size = float(np.max(np.abs(way)))
    if size == 0 or not 0 < share <= 2:
        return None
    return share if np.max(np.abs(way - share * whole)) <= 1e-3 * size else None
