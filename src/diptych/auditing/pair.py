"""Two sides under audit, and all that the stages share: inputs, weights, who matches whom."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from diptych.auditing import reference
from diptych.auditing.causes import advice
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.kinds.registry import guesses
from diptych.auditing.match import Match, Transfer, align, simplified
from diptych.auditing.report import Audit, Finding
from diptych.auditing.side import Side
from diptych.data import load_data
from diptych.errors import InputError
from diptych.randomness import generator

EXAMPLES = 32
"""Examples that the stages look at; real images where the network takes MNIST's."""
PLACES = 3
"""Weights at which two sides must part for it to be no chance; see `Pair.elsewhere`."""
Which = str
"""``a`` or ``b``."""
SIDES = ("a", "b")


class Pair:
    """Two sides, opened. What a stage finds goes into `audit`, what the next ones need in here."""

    def __init__(self, a: Side, b: Side) -> None:
        self.sides: dict[Which, Side] = {"a": a, "b": b}
        self.audit = Audit(a.spec.given, b.spec.given, (a.framework, b.framework))
        self.graphs: dict[Which, Graph] = {"a": a.graph, "b": b.graph}
        """What each side does; custom nodes that behave like known ones are those."""
        self.x: dict[Which, np.ndarray] = {}
        self.y: dict[Which, np.ndarray] = {}
        self.raw_x: dict[Which, np.ndarray] = {}
        self.raw_y: dict[Which, np.ndarray] = {}
        """What each side itself makes of the raw data; `x` and `y` are the same for both."""
        self.unit = 1.0
        """How much coarser than float32 the coarser side computes."""
        self.formulas: dict[Which, dict[str, Any] | None] = {"a": None, "b": None}
        self.parameters: dict[Which, Arrays] = {"a": a.own, "b": b.own}
        """The same weights in both, where they fit, from the stage `forward` on."""
        self._prepare()
        for which in SIDES:
            self.graphs[which] = self._identified(which)
        (self.a, final_a), (self.b, final_b) = (simplified(self.graphs[w]) for w in SIDES)
        self.final: dict[Which, str | None] = {"a": final_a, "b": final_b}
        self.matches = align(self.a, self.b, a.own, b.own)
        self.transfer = Transfer.between(self.a, self.b, self.matches, a.own, b.own)

    # What the stages ask.

    def found(self, stage: str, code: str, layer: str | None, *said: str) -> None:
        """Adds a finding; said is what A has, what B has and, where it is known, the effect."""
        a, b, effect = (*said, "")[:3]
        frameworks = self.audit.frameworks
        self.audit.findings.append(
            Finding(stage, code, layer, a, b, effect, advice(code, *frameworks))
        )

    def place(self, match: Match) -> str:
        """A layer's name on both sides, with the lines that made it where they are known."""
        names = [n.name + (f" ({n.where})" if n.where else "") for n in (match.a, match.b) if n]
        if match.a and match.b and (match.a.name != match.b.name or match.a.where != match.b.where):
            return " / ".join(names)
        return names[0]

    def change(self, which: Which, name: str, **attributes: Any) -> None:
        """Has a side's graph say of a node what it was found to do."""
        nodes = [
            replace(node, attributes=node.attributes | attributes) if node.name == name else node
            for node in self.graphs[which].nodes
        ]
        self.graphs[which] = replace(self.graphs[which], nodes=tuple(nodes))

    @contextlib.contextmanager
    def elsewhere(self, number: int) -> Iterator[None]:
        """Puts other weights near the present ones into both sides for a while; none for 0.

        Where a rectifier's input is zero but for rounding, two sides may take different turns, and
        no bound says so. That happens at some weights; a fault is there at all of them.
        """
        kept = self.parameters
        if number:
            chance = np.random.default_rng(number)
            moved = {
                name: (value * (1 + 0.01 * chance.standard_normal(value.shape))).astype(value.dtype)
                for name, value in kept["a"].items()
                if name in self.transfer.names and value.dtype.kind == "f"
            }
            self.parameters = {
                "a": kept["a"] | moved, "b": kept["b"] | self.transfer.to_b(moved)
            }  # fmt: skip
            for which, side in self.sides.items():
                side.load(self.parameters[which])
        try:
            yield
        finally:
            if number:
                self.parameters = kept
                for which, side in self.sides.items():
                    side.load(kept[which])

    def whole(self) -> bool:
        """Whether all weights of each side have a place in the other."""
        wanted = [
            {name for node in graph.nodes for name in node.parameters.values()}
            for graph in (self.a, self.b)
        ]
        names = self.transfer.names
        return wanted[0] == set(names) and wanted[1] == set(names.values())

    def expressible(self, which: Which) -> bool:
        """Whether the reference can compute the whole network."""
        return reference.computable(self.graphs[which])

    def runnable(self, which: Which) -> Graph:
        """The network without its final activation, for the reference to run."""
        return simplified(self.graphs[which], keep_shapes=True)[0]

    def logits(self, which: Which, graph: Graph | None = None) -> np.ndarray:
        """What the reference gives for the side's network, or for a changed one, in float64."""
        graph = graph or self.runnable(which)
        return reference.outputs(graph, self.parameters[which], self.x[which])

    def effect_of(self, changes: dict[str, Node]) -> tuple[float, str] | None:
        """What side A's outputs do when some of its nodes are others; None where that can't be
        computed."""
        if not self.expressible("a"):
            return None
        graph = self.runnable("a")
        nodes = tuple(changes.get(node.name, node) for node in graph.nodes)
        try:
            before, after = self.logits("a"), self.logits("a", replace(graph, nodes=nodes))
        except reference.DOES_NOT_FIT:
            return None  # The layers after it do not take its new shape.
        if before.shape != after.shape:
            return None
        moved = float(np.max(np.abs(after - before), initial=0.0))
        words = f"outputs move by up to {moved:.2g} (they span {np.ptp(before):.2g})"
        if before.ndim == 2 and before.shape[1] > 1 and self.sides["a"].targets != "values":
            changed = int(np.sum(before.argmax(1) != after.argmax(1)))
            words += f", {changed} of {len(before)} predictions change, on A's present weights"
        return moved, words

    # Before the first stage.

    def _prepare(self) -> None:
        a, b = self.sides["a"], self.sides["b"]
        mnist = load_data("mnist").test
        images, labels = np.array(mnist.images[:EXAMPLES]), np.array(mnist.labels[:EXAMPLES])
        takes_images = {
            which: int(np.prod(side.graph.input_shape)) == 784 for which, side in self.sides.items()
        }
        for which, side in self.sides.items():
            other = self.sides["b" if which == "a" else "a"]
            reads_digits = side.targets in ("classes", "one_hot") or not side.trains
            if side.prepares or (takes_images[which] and reads_digits and not other.prepares):
                self.raw_x[which], self.raw_y[which] = side.prepare(images, labels)
        if not self.raw_x:
            self.raw_x["a"], self.raw_y["a"] = self._made_up(a)
        for which in SIDES:
            if which not in self.raw_x:
                giver = "b" if which == "a" else "a"
                self.raw_x[which] = self._shaped(self.raw_x[giver], self.sides[which])
                self.raw_y[which] = targets_as(
                    self.raw_y[giver], self.sides[which].targets, self.sides[giver]
                )
        self.x, self.y = dict(self.raw_x), dict(self.raw_y)
        # B gets what A gets, whatever B's own preparation would have made of it.
        scale, offset = leading_rescale(b.graph)
        wanted = (effective(a.graph, self.raw_x["a"]) - offset) / scale
        fits = wanted.size == self.raw_x["b"].size
        if not fits:
            raise InputError(
                f"the sides take inputs of different sizes: A {a.graph.input_shape}, "
                f"B {b.graph.input_shape}; expected the same number of values an example"
            )
        if not np.allclose(
            effective(b.graph, self.raw_x["b"]).ravel(), wanted.ravel() * scale + offset, 1e-6, 1e-6
        ):
            dtype = self.raw_x["b"].dtype
            wanted = wanted.reshape(self.raw_x["b"].shape)
            self.x["b"] = (np.rint(wanted) if dtype.kind in "ui" else wanted).astype(dtype)
        self.y["b"] = targets_as(self.raw_y["a"], b.targets, a)
        if self.y["b"].size == self.raw_y["b"].size:  # In the shape of its own: (n,) or (n, 1).
            self.y["b"] = self.y["b"].reshape(self.raw_y["b"].shape)

    def _made_up(self, side: Side) -> tuple[np.ndarray, np.ndarray]:
        """Normal inputs and targets for a network that takes no images of MNIST's size."""
        chance = generator(0, "audit/inputs")
        x = chance.standard_normal((EXAMPLES, *side.graph.input_shape)).astype(np.float32)
        self.audit.notes.append("the network does not take MNIST's images; inputs are random")
        return x, made_up_targets(side, chance, EXAMPLES)

    def _shaped(self, x: np.ndarray, side: Side) -> np.ndarray:
        shape = (len(x), *side.graph.input_shape)
        if x.size != np.prod(shape):
            raise InputError(
                f"side {side.label} ({side.spec.given}) takes {side.graph.input_shape}, and the "
                f"other is given {x.shape[1:]}; expected the same number of values an example"
            )
        return x.reshape(shape).astype(np.float32)

    def _identified(self, which: Which) -> Graph:
        """The graph with custom nodes that behave like known ones replaced by those."""
        side, graph = self.sides[which], self.graphs[which]
        if all(node.kind != "custom" for node in graph.nodes):
            return graph
        record = side.record(self.x[which], False) | {INPUT: self.x[which]}
        nodes = {node.name: node for node in graph.nodes}
        for node in graph.nodes:
            known = all(name in record for name in (node.name, *node.inputs))
            if node.kind == "custom" and known and not node.parameters:
                base = _common_source(node, nodes)
                alone = replace(node, inputs=(base,)) if base else node
                known = self._known(alone, record)
                if known and self._so_in_training(which, node, known, record):
                    nodes[node.name] = known
            before = nodes.get(node.inputs[0])
            if node.kind == "flatten" and before and before.kind == "custom":
                nodes[node.name] = _reordering(node, before, record) or node
        used = {name for node in nodes.values() for name in node.inputs} | {graph.nodes[-1].name}
        return replace(graph, nodes=tuple(node for node in nodes.values() if node.name in used))

    def _known(self, node: Node, record: Arrays) -> Node | None:
        candidates = guesses(node, record)
        ratios = reference.ratios(candidates, {}, record, False)
        fits = [c for c, ratio in zip(candidates, ratios, strict=True) if ratio <= 1]
        return fits[0] if fits else None

    def _so_in_training(self, which: Which, node: Node, known: Node, record: Arrays) -> bool:
        """Whether a node does in training what it does in inference: noise does not."""
        inputs = [record[name] for name in node.inputs]
        y = self.sides[which].run_node(node.name, inputs, True)
        here = {name: record[name] for name in known.inputs} | {node.name: y}
        return reference.ratios([known], {}, here, False)[0] <= 1


def _common_source(node: Node, nodes: dict[str, Node]) -> str | None:
    """The one tensor that all inputs of a node come from, number by number: in ``maximum(x, 0.2 *
    x)`` it is x."""
    sources = set()
    for name in node.inputs:
        before = nodes.get(name)
        plain = before and before.kind in ("rescale", "activation") and len(node.inputs) > 1
        sources.add(before.inputs[0] if before and plain else name)
    return sources.pop() if len(sources) == 1 else None


def _reordering(node: Node, before: Node, record: Arrays) -> Node | None:
    """A permutation and the flatten behind it as the one flatten that they are."""
    x, y = record.get(before.inputs[0]), record.get(node.name)
    if x is None or y is None or x.size != y.size or before.parameters:
        return None
    orders = {"last": x, "first": np.moveaxis(x, -1, 1)}
    fits = [order for order, turned in orders.items() if np.array_equal(turned.ravel(), y.ravel())]
    return replace(node, inputs=before.inputs, attributes={"order": fits[0]}) if fits else None


def leading_rescale(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """The scale and offset that the network itself applies to its input before anything else."""
    scale, offset = np.ones(()), np.zeros(())
    name = INPUT
    for node in graph.nodes:
        if node.inputs != (name,) or node.kind not in ("rescale", "reshape"):
            break
        if node.kind == "rescale":
            factor = np.asarray(node.attributes["scale"], float)
            scale, offset = scale * factor, offset * factor + np.asarray(node.attributes["offset"])
        name = node.name
    return scale, offset


def effective(graph: Graph, x: np.ndarray) -> np.ndarray:
    """What reaches the first layer that is more than scaling, float64, in the input's shape."""
    scale, offset = leading_rescale(graph)
    return x.astype(np.float64) * scale + offset


def made_up_targets(side: Side, chance: np.random.Generator, count: int) -> np.ndarray:
    """Targets of the form that the side's loss takes."""
    output = side.graph.nodes[-1].shape
    match side.targets:
        case "classes":
            return chance.integers(output[-1], size=count)
        case "one_hot":
            return np.eye(output[-1], dtype=np.float32)[chance.integers(output[-1], size=count)]
        case "binary":
            return chance.integers(2, size=(count, *output)).astype(np.float32)
    return chance.standard_normal((count, *output)).astype(np.float32)


def targets_as(y: np.ndarray, wanted: str, giver: Side) -> np.ndarray:
    """The same targets in the form that another side's loss takes."""
    if wanted == giver.targets:
        return y
    if giver.targets == "one_hot" and wanted == "classes":
        return y.argmax(axis=-1)
    if giver.targets == "classes" and wanted == "one_hot":
        return np.eye(giver.graph.nodes[-1].shape[-1], dtype=np.float32)[y.reshape(-1).astype(int)]
    if wanted in ("values", "binary"):
        return y.astype(np.float32)
    return y
