"""The stage of the loss on sides of a few numbers, which need no process of their own."""

from typing import Any

import numpy as np

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.match import Transfer, align
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit
from diptych.auditing.side import Failed, Unable
from diptych.auditing.stages import loss
from diptych.auditing.twins import Twins

NODE = Node("code", "dense", (INPUT,), (3,), {}, {"kernel": "kernel"})
GRAPH = Graph((5,), (NODE,))


class Picky:
    """A side with outputs between 0 and 1, and a loss that takes no others (PyTorch's BCELoss)."""

    targets, label, no_twin, loss_words = "values", "A", "a test has none", "own"

    def __init__(self, factor: float) -> None:
        self.factor, self.graph = factor, GRAPH
        self.own: Arrays = {"kernel": np.ones((5, 3), np.float32)}
        self.load(self.own)

    def load(self, parameters: Arrays) -> None:
        self.parameters = dict(parameters)

    def open_twin(self) -> None:
        return None

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        return (1 / (1 + np.exp(-x @ self.parameters["kernel"])))[None]

    def loss_and_gradients(self, *_: Any) -> tuple[float, Arrays]:
        raise Unable("no gradients in a test")

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        if outputs.min() < 0 or outputs.max() > 1:
            raise Failed("all elements of input should be between 0 and 1")
        entropy = targets * np.log(outputs) + (1 - targets) * np.log(1 - outputs)
        return float(-self.factor * entropy.mean())


def checked(factor: float, kind: type[Picky] = Picky) -> tuple[loss.Losses, Reporter, Pair]:
    """Compares the loss of two such sides, of which one is multiplied."""
    sides: Any = {"a": kind(1.0), "b": kind(factor)}
    matches = align(GRAPH, GRAPH, sides["a"].own, sides["b"].own)
    transfer = Transfer.between(GRAPH, GRAPH, matches, sides["a"].own, sides["b"].own)
    nothing: Any = {"a": None, "b": None}
    pair = Pair(sides, {"a": GRAPH, "b": GRAPH}, GRAPH, GRAPH, nothing, matches, transfer)
    chance = np.random.default_rng(0)
    x: Any = dict.fromkeys("ab", chance.normal(size=(8, 5)).astype(np.float32))
    y: Any = dict.fromkeys("ab", chance.uniform(size=(8, 3)).astype(np.float32))
    weights: Any = {which: side.own for which, side in sides.items()}
    report = Reporter(Audit("a.py:build", "b.py:build", ("PyTorch", "PyTorch")), "loss")
    return loss.check(Twins(pair, Examples(x, y, x, y), weights, 1.0), report), report, pair


def test_a_loss_that_refuses_other_numbers_is_compared_on_the_networks_own() -> None:
    same, report, _ = checked(1.0)
    assert same.stage.ok and not report.audit.findings
    assert same.stage.coverage.extents["outputs"] == ["A's own"]
    refused = [line for line in same.stage.coverage.left_out if "outside the range" in line]
    assert len(refused) == 1 and "between 0 and 1" in refused[0]


def test_a_factor_of_such_a_loss_is_found() -> None:
    _, report, _ = checked(1.1)
    assert [finding.code for finding in report.audit.findings] == ["loss"]


class Adversarial(Picky):
    """A side that is its own twin, with weights that no layer of its network has."""

    def __init__(self, factor: float) -> None:
        super().__init__(factor)
        self.own["discriminator"] = np.full(4, 3.0, np.float32)

    def load(self, parameters: Arrays) -> None:
        self.parameters = getattr(self, "parameters", {}) | parameters

    def open_twin(self) -> Any:
        return self


def test_weights_that_the_network_does_not_have_are_put_back() -> None:
    losses, _, pair = checked(1.0, Adversarial)
    assert losses.stage.coverage.precision == "float64 twins"
    for side in pair.sides.values():
        parameters: Arrays = side.parameters  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_array_equal(parameters["discriminator"], np.full(4, 3.0))
