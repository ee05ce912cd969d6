"""Layers that are known only by what they do, held against their partners."""

from dataclasses import dataclass

import numpy as np

from diptych.auditing import reference
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays, Node
from diptych.auditing.kinds.registry import words
from diptych.auditing.match import Match
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import Failed
from diptych.auditing.weights import Weights

RUNS = 8
"""Runs of a node that draws random numbers."""
CHANCE = 1e-9
"""The chance of an alarm about one such node if there is nothing."""
YARD = 64.0
"""How many times the effect of moving each input by an ulp rounding may have in a black box."""


@dataclass(frozen=True)
class Comparison:
    """Compares nodes of which one is a black box, on the inputs that A's node got."""

    pair: Pair
    weights: Weights
    unit: float
    """How much coarser than float32 the coarser side computes."""
    records: dict[Which, Arrays]
    training: bool
    report: Reporter

    def compare(self, match: Match, stage: Stage) -> None:
        """Reports a difference that rounding does not explain."""
        assert match.a and match.b
        a, b = match.a, match.b
        record = self.records["a"]
        if not all(name in record for name in (a.name, *a.inputs)):
            return
        inputs = [record[name] for name in a.inputs]
        y = record[a.name].astype(np.float64)
        other = self._run("b", b, inputs)
        if other is None or other.shape != y.shape:
            effect = "their outputs' shapes differ"
            if other is None:
                effect = "the second does not take the inputs of the first"
            self.report(
                "layer-kind", at=match, a=words(a), b=words(b), effect=effect, stage="forward"
            )
            return
        box: Which = "a" if a.kind == "custom" else "b"
        node = a if box == "a" else b
        moved = [
            np.nextafter(x, np.float32(np.inf)) if x.dtype == np.float32 else x for x in inputs
        ]
        once, again, after = (self._run(box, node, x) for x in (inputs, inputs, moved))
        if once is None or again is None or after is None:
            return
        if not np.array_equal(once, again):
            self.compare_distributions(match, inputs)
            return
        # Statistics of a batch are sums of many numbers, which frameworks round differently.
        share = 1e-3 if self.training else 2e-6
        bound = YARD * float(np.abs(once - after).max(initial=0.0))
        bound = self.unit * (bound + share * float(np.abs(y).max(initial=0.0)))
        difference = float(np.abs(y - other).max(initial=0.0))
        if difference <= bound:
            stage.saw(difference, bound)
            return
        if self.report.has_at(match):
            return
        first = int(np.abs(y - other).reshape(len(y), -1).max(1).argmax())
        self.report(
            "training-mode" if self.training else _cause(a, b),
            at=match,
            a=words(a),
            b=words(b),
            effect=f"on the same input and weights they differ by up to {difference:.3g} (rounding "
            f"explains up to {bound:.1e}), most on example {first}",
            stage="mode" if self.training else "forward",
        )

    def compare_distributions(self, match: Match, inputs: list[np.ndarray]) -> None:
        """Compares what two nodes that draw random numbers make of the same inputs."""
        from scipy import stats

        assert match.a and match.b
        samples = []
        for which, node in (("a", match.a), ("b", match.b)):
            outputs = [self._run(which, node, inputs) for _ in range(RUNS)]
            # A side that draws the same numbers each time has drawn once.
            distinct = {y.tobytes(): y.ravel() for y in outputs if y is not None}
            samples.append(np.concatenate([np.zeros(0), *distinct.values()]))
        if not min(sample.size for sample in samples):
            return
        # A tenth of the numbers may be one and the same number, and off by rounding on one side.
        grid = 1e-4 * max(float(np.abs(sample).max()) for sample in samples)
        p = float(np.asarray(stats.ks_2samp(*(np.rint(s / grid) for s in samples)))[1])
        if p >= CHANCE or self.report.has_at(match):
            return
        names = [str(node.attributes.get("class", node.kind)) for node in (match.a, match.b)]
        a, b = (
            f"{name}: deviation {sample.std():.3g}"
            for name, sample in zip(names, samples, strict=True)
        )
        self.report(
            "dropout-rate" if all("drop" in name.lower() for name in names) else "training-mode",
            at=match,
            a=a,
            b=b,
            effect="the same inputs give outputs of other distributions in training",
            stage="mode",
        )

    def _run(self, which: Which, node: Node, inputs: list[np.ndarray]) -> np.ndarray | None:
        """A node's output, float64: by the reference if it can compute it, else by its side. None
        where it does not take such inputs."""
        if node.kind == "custom":
            try:
                y = self.pair.sides[which].run_node(node.name, inputs, self.training)
            except Failed:  # It gets inputs of another layer, which need not fit.
                return None
            return y.astype(np.float64)
        own = reference.parameters_of(node, self.weights[which])
        try:
            return reference.compute(
                node,
                reference.to_float64(own),
                [x.astype(np.float64) for x in inputs],
                self.training,
            )
        except reference.DOES_NOT_FIT:
            return None


def _cause(a: Node, b: Node) -> str:
    kinds = {a.kind, b.kind}
    if kinds == {"custom"} or "batch_norm" in kinds:
        return "unexplained"
    return "activation" if "activation" in kinds else "layer-kind"
