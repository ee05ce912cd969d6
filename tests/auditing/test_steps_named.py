"""Training steps that are not those of the optimiser on the gradient."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_stages import GRAPH, pair_of, weights_of

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.match import Match, Transfer
from diptych.auditing.naming import steps as naming
from diptych.auditing.report import Audit

GRADIENT = {"kernel": np.full((13, 1), 2.0), "bias": np.ones(1)}


class Stepping:
    """A side with plain gradient descent, whose own steps take a multiple of the bias' gradient."""

    def __init__(self, factor: float) -> None:
        self.factor, self.graph = factor, GRAPH
        self.own = {"kernel": np.ones((13, 1), np.float32), "bias": np.zeros(1, np.float32)}

    def load(self, parameters: Arrays) -> None:
        pass

    def loss_and_gradients(self, *_: Any) -> tuple[float, Arrays]:
        return 0.0, GRADIENT

    def updates_on(self, gradients: list[Arrays]) -> list[Arrays]:
        return [{n: self.own[n] - 0.1 * gradients[0][n] for n in self.own}]

    def steps(self, batches: Any, steps: int, places: Arrays) -> tuple[np.ndarray, Arrays]:
        factors = {"kernel": 1.0, "bias": self.factor}
        ends = {n: self.own[n] - 0.1 * factors[n] * GRADIENT[n] for n in self.own}
        path = {n: np.stack([self.own[n].ravel(), ends[n].ravel()]) for n in self.own}
        return np.zeros(1), path


@pytest.mark.parametrize(("a", "b", "named"), [(1.0, 1.5, True), (1.0, 1.0, False), (2, 2, False)])
def test_a_step_that_is_not_the_optimisers_on_the_gradient(a: float, b: float, named: bool) -> None:
    pair = pair_of(Stepping(a), Stepping(b))
    numbers: Any = dict.fromkeys("ab", np.zeros((8, 13), np.float32))
    report = Reporter(Audit("a", "b", ("Keras", "PyTorch")), "trajectory")
    examples = Examples(numbers, numbers, numbers, numbers)
    assert naming.explain_by_gradient(pair, examples, weights_of(pair), report) is named
    if named:
        (finding,) = report.audit.findings
        assert "a step that is 50% off" in finding.b and "bias" in finding.effect


EMBEDDING = Node("words", "embedding", (INPUT,), (3, 2), {}, {"kernel": "rows"})
TOKENS = np.array([[1, 1, 2], *([1, 1, 0],) * 31], np.float32)


class Embedding:
    """A side with an embedding, whose own steps move some rows further than its optimiser's."""

    def __init__(self, *further: int) -> None:
        self.further, self.graph = list(further), Graph((3,), (EMBEDDING,))
        self.own = {"rows": np.zeros((4, 2), np.float32)}

    def load(self, parameters: Arrays) -> None:
        pass

    def loss_and_gradients(self, *_: Any) -> tuple[float, Arrays]:
        return 0.0, {"rows": np.ones((4, 2))}

    def updates_on(self, gradients: list[Arrays]) -> list[Arrays]:
        return [{"rows": self.own["rows"] - 0.1 * gradients[0]["rows"]}]

    def steps(self, batches: Any, steps: int, places: Arrays) -> tuple[np.ndarray, Arrays]:
        end = self.own["rows"] - 0.1
        end[self.further] *= 2
        return np.zeros(1), {"rows": np.stack([self.own["rows"].ravel(), end.ravel()])}


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ((1,), (), True),
        ((), (1,), True),
        ((1,), (1,), False),
        ((), (), False),
        ((1, 2), (), False),  # A token that comes once moves further too: it is something else.
    ],
)
def test_repeated_tokens(a: tuple[int, ...], b: tuple[int, ...], named: bool) -> None:
    sides = {"a": Embedding(*a), "b": Embedding(*b)}
    pair: Any = SimpleNamespace(
        sides=sides, matches=[Match(EMBEDDING, EMBEDDING)], transfer=Transfer({"rows": "rows"}, {})
    )
    tokens: Any = dict.fromkeys("ab", TOKENS)
    report = Reporter(Audit("a", "b", ("Keras", "PyTorch")), "trajectory")
    weights: Any = {which: side.own for which, side in sides.items()}
    examples = Examples(tokens, tokens, tokens, tokens)
    assert naming.explain_by_tokens(pair, examples, weights, report) is named
    if named:
        (finding,) = report.audit.findings
        assert finding.code == "repeated-tokens" and finding.stage == "update"
        assert "one by one" in (finding.a if a else finding.b)
