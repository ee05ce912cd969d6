"""Comparison of layers that are known only by their outputs."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing.distributions import of_one_distribution
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays, Node
from diptych.auditing.grouping import is_group
from diptych.auditing.kinds.registry import words
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed, Unable

RUNS = 8
"""The number of runs of a node that draws random numbers."""
CHANCE = 1e-9
"""The probability of a false alarm for one such node."""
ALIKE = 1e-3
"""The relative difference of inputs that count as the same up to rounding."""
YARD = 64.0
"""The allowed difference of outputs, as a multiple of the effect of changing each input by an ulp.
"""


OTHER_SHAPES = "their outputs' shapes differ"
OTHER_NUMBERS = "on the same input and weights they differ"
"""The effects of a difference between two layers of which one is unknown, or their beginnings."""


@dataclass(frozen=True)
class Comparison:
    """Compares nodes of which one is a black box. Each gets its own side's inputs."""

    pair: Pair
    unit: float
    """The rounding of the less precise side, relative to float32."""
    records: dict[Which, Arrays]
    """Records of inference; in training, the inputs of a layer may be random."""
    training: bool
    report: Reporter

    def compare(self, match: Match, stage: Stage) -> None:
        """Reports a difference that rounding does not explain."""
        assert match.a and match.b
        if self.training and (is_group(match.a) or is_group(match.b)):
            reason = "it is several layers on one side, which cannot be run separately"
            stage.coverage.leave_out(f"{match.a.name} alone", reason)
            return
        if is_group(match.a) and is_group(match.b):
            reason = "it is several layers on both sides; the whole networks are compared"
            stage.coverage.leave_out(match.a.name, reason)
            return
        nodes: dict[Which, Node] = {"a": match.a, "b": match.b}
        nodes = {which: self._runnable(which, node) for which, node in nodes.items()}
        if any(
            name not in self.records[which]
            for which, node in nodes.items()
            for name in (node.name, *node.inputs)
        ):
            return
        of_a, of_b = (self._inputs(which, nodes[which]) for which in SIDES)
        try:
            y, other = (self._output(w, nodes[w], x) for w, x in (("a", of_a), ("b", of_b)))
        except (Failed, Unable) as problem:
            stage.coverage.leave_out(match.a.name, str(problem))
            return
        if other.shape != y.shape:
            self._report("layer-kind", match, OTHER_SHAPES, "forward")
            return
        known = match.a.kind != "custom"
        box: Which = "b" if is_group(match.a) or (known and not is_group(match.b)) else "a"
        inputs, others = (of_a, of_b) if box == "a" else (of_b, of_a)
        alike = _alike(inputs, others)
        moved = [
            _moved(x, near) for x, near in zip(inputs, others if alike else inputs, strict=True)
        ]
        try:
            once, again, after = (self._run(box, nodes[box], x) for x in (inputs, inputs, moved))
        except (Failed, Unable) as problem:
            stage.coverage.leave_out(nodes[box].name, str(problem))
            return
        if not np.array_equal(once, again):
            self.compare_distributions(match, {"a": of_a, "b": of_b}, stage)
            return
        # Statistics of a batch are sums of many numbers, which frameworks round differently.
        share = 1e-3 if self.training else 2e-6
        bound = YARD * float(np.abs(once - after).max(initial=0.0))
        bound = self.unit * (bound + share * float(np.abs(y).max(initial=0.0)))
        difference = float(np.abs(y - other).max(initial=0.0))
        if difference <= bound:
            stage.saw(difference, bound)
            return
        if not alike:
            reason = "its inputs already differ"
            stage.coverage.leave_out(nodes[box].name, reason)
            return
        if self.report.has_at(match):
            return
        first = int(np.abs(y - other).reshape(len(y), -1).max(1).argmax())
        effect = (
            f"{OTHER_NUMBERS} by up to {difference:.3g} (rounding explains up to {bound:.1e}), "
            f"most on example {first}"
        )
        code = "training-mode" if self.training else _cause(match.a, match.b)
        self._report(code, match, effect, "mode" if self.training else "forward")

    def compare_distributions(
        self, match: Match, inputs: dict[Which, list[np.ndarray]], stage: Stage
    ) -> None:
        """Compares the outputs of two nodes that draw random numbers, as distributions."""
        assert match.a and match.b
        samples = []
        for which, node in (("a", match.a), ("b", match.b)):
            try:
                outputs = [self._run(which, node, inputs[which]) for _ in range(RUNS)]
            except (Failed, Unable) as problem:
                stage.coverage.leave_out(node.name, str(problem))
                return
            # A side that draws the same numbers each time has drawn once.
            distinct = {y.tobytes(): y.ravel() for y in outputs}
            samples.append(np.concatenate([np.zeros(0), *distinct.values()]))
        # A tenth of the numbers may be one and the same number, and off by rounding on one side.
        grid = 1e-4 * max(float(np.abs(sample).max(initial=0.0)) for sample in samples) or 1.0
        p = of_one_distribution(*(np.rint(s / grid) for s in samples))
        if p >= CHANCE or self.report.has_at(match):
            return
        names = [str(node.attributes.get("class", node.kind)) for node in (match.a, match.b)]
        a, b = (
            f"{name}: standard deviation {sample.std():.3g}"
            for name, sample in zip(names, samples, strict=True)
        )
        self.report(
            "dropout-rate" if all("drop" in name.lower() for name in names) else "training-mode",
            at=match,
            a=a,
            b=b,
            effect="the same inputs give outputs with different distributions in training",
            stage="mode",
        )

    def _report(self, code: str, match: Match, effect: str, stage: str) -> None:
        assert match.a and match.b
        a, b = words(match.a), words(match.b)
        self.report(code, at=match, a=a, b=b, effect=effect, stage=stage)

    def _runnable(self, which: Which, node: Node) -> Node:
        """A node with the inputs that its code takes. In a simplified graph these may be the inputs
        of a preceding reshape. A group is not run."""
        if is_group(node):
            return node
        return next((n for n in self.pair.graphs[which].nodes if n.name == node.name), node)

    def _inputs(self, which: Which, node: Node) -> list[np.ndarray]:
        return [self.records[which][name] for name in node.inputs]

    def _output(self, which: Which, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The output of a node for the inputs of its own side, float64."""
        if self.training:
            return self._run(which, node, inputs)
        return self.records[which][node.name].astype(np.float64)

    def _run(self, which: Which, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The output of a node, float64."""
        y = self.pair.sides[which].run_node(node.name, inputs, self.training)
        return y.astype(np.float64)


def _alike(inputs: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """True if two nodes get the same inputs, up to rounding and reshaping."""
    if [x.size for x in inputs] != [x.size for x in others]:
        return False
    return all(
        np.allclose(
            x.ravel(), other.ravel(), ALIKE, ALIKE * float(np.abs(x).max(initial=0.0)), True
        )
        for x, other in zip(inputs, others, strict=True)
    )


def _moved(x: np.ndarray, near: np.ndarray) -> np.ndarray:
    """An input changed by rounding: by an ulp, or by the difference to the other side's input."""
    if x.dtype.kind != "f":
        return x
    step = np.maximum(np.spacing(np.abs(x)), np.abs(x - near.reshape(x.shape).astype(x.dtype)))
    return x + step


def _cause(a: Node, b: Node) -> str:
    kinds = {a.kind, b.kind}
    if kinds == {"custom"} or "batch_norm" in kinds:
        return "unexplained"
    return "activation" if "activation" in kinds else "layer-kind"
