"""Losses that clip probabilities, or stop at a logarithm, where others do not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.match import Transfer, align
from diptych.auditing.pair import Pair
from diptych.auditing.report import Audit, Stage
from diptych.auditing.saturation import NEAR, limited, saturated
from diptych.auditing.several import Output
from diptych.auditing.stages import gradients, loss
from diptych.auditing.twins import Twins

CLASSES = 4
NODE = Node("scores", "dense", (INPUT,), (CLASSES,), {}, {"kernel": "kernel"})
GRAPH = Graph((5,), (NODE,))


class Clipping:
    """A side that is its own twin: one dense layer, a softmax, and a cross-entropy of
    probabilities that are clipped from below."""

    targets, label, no_twin, loss_words = "classes", "A", "", "own"
    trains, whole = False, ()
    data: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, clip: float, factor: float = 1.0) -> None:
        self.clip, self.factor, self.graph = clip, factor, GRAPH
        self.own: Arrays = {"kernel": np.random.default_rng(0).normal(size=(5, CLASSES))}
        self.load(self.own)

    def load(self, parameters: Arrays) -> None:
        self.parameters = dict(parameters)

    def open_twin(self) -> Any:
        return self

    def own_code(self, x: np.ndarray, targets: np.ndarray) -> dict[str, bool]:
        return {"steps": False, "updates": False}

    def outputs(self, x: np.ndarray, training: bool, runs: int = 1) -> np.ndarray:
        z = x @ self.parameters["kernel"]
        e = np.exp(z - z.max(1, keepdims=True))
        return np.repeat((e / e.sum(1, keepdims=True))[None], runs, 0)

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        chosen = outputs[np.arange(len(targets)), targets]
        with np.errstate(divide="ignore"):
            return float(-self.factor * np.log(np.maximum(chosen, self.clip)).mean())

    def loss_and_gradients(
        self, x: np.ndarray, targets: np.ndarray, draw: int = 0
    ) -> tuple[float, Arrays]:
        shares = self.outputs(x, True)[0]
        away = shares - np.eye(CLASSES)[targets]  # What is clipped has no gradient.
        away[shares[np.arange(len(targets)), targets] < self.clip] = 0
        return self.loss(shares, targets), {"kernel": self.factor * x.T @ away / len(x)}


def twins_of(a: Clipping, b: Clipping) -> Twins:
    sides: Any = {"a": a, "b": b}
    matches = align(GRAPH, GRAPH, a.own, b.own)
    transfer = Transfer.between(GRAPH, GRAPH, matches, a.own, b.own)
    final: Any = {"a": "softmax", "b": "softmax"}
    pair = Pair(sides, {"a": GRAPH, "b": GRAPH}, GRAPH, GRAPH, final, matches, transfer)
    chance = np.random.default_rng(0)
    x: Any = dict.fromkeys("ab", chance.normal(size=(16, 5)))
    y: Any = dict.fromkeys("ab", chance.integers(CLASSES, size=16))
    weights: Any = {which: side.own for which, side in sides.items()}
    return Twins(pair, Examples(x, y, x, y), weights, 1.0)


def checked(a: Clipping, b: Clipping) -> tuple[list[str], Stage, Stage]:
    """The causes, and the stages of the loss and of the gradients."""
    twins = twins_of(a, b)
    audit = Audit("a.py:build", "b.py:build", ("Keras", "PyTorch"))
    losses = loss.check(twins, Reporter(audit, "loss"))
    reporter = Reporter(audit, "gradients")
    stage = gradients.check(twins, losses.formulas, losses.decay, losses.asked, reporter)
    return [finding.code for finding in audit.findings], losses.stage, stage


@pytest.mark.parametrize(("one", "other"), [(1e-7, 0.0), (1e-12, 1e-7)])
def test_clipping_near_zero_is_left_out_where_it_shows(one: float, other: float) -> None:
    codes, of_loss, of_gradients = checked(Clipping(one), Clipping(other))
    assert not codes
    for stage in (of_loss, of_gradients):
        assert stage.ok and stage.coverage.probes > 7
        assert any("which a loss may clip" in line for line in stage.coverage.left_out)
    # With large weights, those examples are compared of which no probability is near 0 or 1.
    assert "large" in of_gradients.coverage.extents["weights"]


def test_the_same_clipping_is_compared_everywhere() -> None:
    codes, of_loss, of_gradients = checked(Clipping(1e-7), Clipping(1e-7))
    assert not codes
    assert not of_loss.coverage.left_out + of_gradients.coverage.left_out


@pytest.mark.parametrize(
    "other", [Clipping(1e-2), Clipping(0.0, 1.001)], ids=["a coarse clip", "a factor"]
)
def test_other_differences_are_found(other: Clipping) -> None:
    codes, of_loss, _ = checked(Clipping(1e-7), other)
    assert codes and of_loss.ok is False


def test_saturated_examples_and_limited_outputs() -> None:
    pair = twins_of(Clipping(0.0), Clipping(0.0)).pair
    near = NEAR["float64 twins"]
    shares = np.array([[0.25, 0.25, 0.25, 0.25], [1 - 3e-7, 1e-7, 1e-7, 1e-7]])
    assert saturated(pair, "a", shares, near).tolist() == [False, True]
    assert saturated(pair, "a", shares[:, 0], near).tolist() == [False, True]
    logits = limited(pair, np.array([[-40.0, 0.0, 1.0, 40.0]]), near)
    assert logits is not None
    e = np.exp(logits)
    assert near <= (e / e.sum()).min() < 20 * near
    np.testing.assert_array_equal(logits[0, 1:3], [0.0, 1.0])


def test_each_of_several_outputs_has_its_own_end() -> None:
    """A policy with a softmax and a value, whose numbers are no probabilities."""
    outputs = (Output("policy", 0, (3,)), Output("value", 3, (1,)))
    ends: Any = {"a": ("softmax", None), "b": (None, None)}
    sides: Any = {which: SimpleNamespace(targets="own") for which in "ab"}
    pair: Any = SimpleNamespace(final=ends, several=dict.fromkeys("ab", outputs), sides=sides)
    near = NEAR["float64 twins"]
    shares = np.array([[0.2, 0.3, 0.5, 7.0], [1 - 2e-9, 1e-9, 1e-9, 0.1]])
    assert saturated(pair, "a", shares, near).tolist() == [False, True]
    logits = np.array([[1.0, 2.0, 0.0, 90.0], [60.0, 0.0, 0.0, 90.0]])
    assert saturated(pair, "b", logits, near).tolist() == [False, True]
    within = limited(pair, logits, near)
    assert within is not None and within[1, 0] < 10
    np.testing.assert_array_equal(within[:, 3], [90.0, 90.0])
    np.testing.assert_array_equal(logits[1], [60.0, 0.0, 0.0, 90.0])
    ends |= {"a": None, "b": None}
    assert limited(pair, logits, near) is None
    assert not saturated(pair, "a", logits, near).any()
