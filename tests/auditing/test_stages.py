"""Stages on sides of a few numbers, which need no process of their own."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diptych.auditing import pair as pairs
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.match import Match, Transfer, align
from diptych.auditing.report import Audit
from diptych.auditing.stages import forward, gradient_causes, initial, loss, mode
from diptych.auditing.stages.loss import TAKES

NODE = Node("dense", "dense", (INPUT,), (1,), {}, {"kernel": "kernel", "bias": "bias"})
GRAPH = Graph((13,), (NODE,))


class Drawn:
    """A side with one dense layer of 13 numbers, whose builds draw its kernel within a limit."""

    def __init__(self, limit: float, seed: int = 0) -> None:
        self.limit, self.seed = limit, seed
        self.own = self.initial(1)[0]
        self.spec = SimpleNamespace(form="file")

    def initial(self, draws: int) -> list[Arrays]:
        chance = np.random.default_rng(self.seed)
        return [
            {
                "kernel": chance.uniform(-self.limit, self.limit, (13, 1)).astype(np.float32),
                "bias": np.zeros(1, np.float32),
            }
            for _ in range(draws)
        ]


class Kinked:
    """A side whose gradient is wrong at its first weights only, or at all of them."""

    def __init__(self, wrong_at: str) -> None:
        self.wrong_at = wrong_at
        self.own = {"kernel": np.ones((13, 1), np.float32), "bias": np.zeros(1, np.float32)}
        self.graph = GRAPH
        self.load(self.own)

    def load(self, parameters: Arrays) -> None:
        self.parameters = dict(parameters)

    def loss_and_gradients(self, x: np.ndarray, y: np.ndarray) -> tuple[float, Arrays]:
        wrong = self.wrong_at == "all" or (
            self.wrong_at == "first"
            and np.array_equal(self.parameters["kernel"], self.own["kernel"])
        )
        return 0.0, {"kernel": np.full((13, 1), 1 + 0.1 * wrong), "bias": np.ones(1)}


def pair_of(a: Any, b: Any) -> Any:
    """As much of a pair as the stages here look at."""
    pair: Any = object.__new__(pairs.Pair)
    pair.sides = {"a": a, "b": b}
    pair.a = pair.b = GRAPH
    pair.graphs = {"a": GRAPH, "b": GRAPH}
    pair.matches = align(GRAPH, GRAPH, a.own, b.own)
    pair.transfer = Transfer.between(GRAPH, GRAPH, pair.matches, a.own, b.own)
    pair.parameters = {"a": a.own, "b": b.own}
    pair.x = pair.y = {"a": np.zeros((2, 13)), "b": np.zeros((2, 13))}
    pair.formulas = {"a": None, "b": None}
    pair.unit = 1.0
    pair.audit = Audit("a.py:build", "b.py:build", ("PyTorch", "Keras"))
    return pair


def test_thirteen_numbers_are_drawn_often_enough_to_tell_initialisers_apart() -> None:
    pair = pair_of(Drawn(13**-0.5), Drawn((6 / 14) ** 0.5, seed=1))  # PyTorch's and Glorot's.
    assert initial.check(pair).ok is False
    assert [finding.code for finding in pair.audit.findings] == ["kernel-initialiser"]
    assert initial.check(pair_of(Drawn(0.3), Drawn(0.3, seed=1))).ok is not False


@pytest.mark.parametrize(("wrong_at", "codes"), [("none", 0), ("first", 0), ("all", 1)])
def test_gradients_differ_only_if_they_do_at_other_weights_too(wrong_at: str, codes: int) -> None:
    side = Kinked(wrong_at)
    pair = pair_of(Kinked("none"), side)
    assert gradient_causes.explain(pair) is (codes != 0)
    assert [finding.code for finding in pair.audit.findings] == ["unexplained"] * codes
    assert np.array_equal(side.parameters["kernel"], side.own["kernel"])  # As it was found.


def test_a_cross_entropy_by_hand_is_known_for_what_it_takes() -> None:
    from diptych.auditing import losses

    chance = np.random.default_rng(0)
    z, y = chance.normal(0, 2, (6, 10)), chance.integers(10, size=6)
    by_hand = -np.log(np.clip(z[np.arange(6), y], 1e-7, 1)).mean()
    near = [
        formula["takes"]
        for formula in loss.candidates("classes")
        if formula["kind"] == "cross_entropy"
        and formula["reduction"] == "mean"
        and abs(float(losses.value(formula, z, y, {})) - by_hand) < 1e-9
    ]
    assert near == ["unnormalised"]
    assert TAKES["softmax", "unnormalised"] == "logits"


class Noisy(Drawn):
    """A side with a layer of noise: a share of the numbers becomes one and the same number."""

    def __init__(self, rate: float, low: float, seed: int) -> None:
        super().__init__(1.0)
        self.rate, self.low, self.chance = rate, low, np.random.default_rng(seed)

    def run_node(self, name: str, inputs: list[np.ndarray], training: bool) -> np.ndarray:
        dropped = self.chance.uniform(size=inputs[0].shape) < self.rate
        return np.where(dropped, np.float32(self.low), inputs[0])


@pytest.mark.parametrize(("rate", "codes"), [(0.1, []), (0.3, ["dropout-rate"])])
def test_noise_is_held_against_noise(rate: float, codes: list[str]) -> None:
    an_ulp_off = float(np.nextafter(np.float32(-1.4577386), np.float32(-2)))
    pair = pair_of(Noisy(0.1, -1.4577386, 1), Noisy(rate, an_ulp_off, 2))
    node = Node("noise", "custom", (INPUT,), (32,), {"class": "AlphaDropout"})
    x = np.random.default_rng(3).normal(size=(32, 32)).astype(np.float32)
    forward._drawn(pair, Match(node, node), [x], training=True)
    assert [finding.code for finding in pair.audit.findings] == codes


class Normalising:
    """A side that only normalises: 32 images of 14×14 pixels, in float32 as a framework has it."""

    def __init__(self, unbiased: bool, momentum: float) -> None:
        self.unbiased, self.momentum = unbiased, momentum

    def load(self, parameters: Arrays) -> None:
        self.parameters = dict(parameters)

    def record(self, x: np.ndarray, training: bool) -> Arrays:
        count, kept = x[..., 0].size, np.float32(self.momentum)
        # Over a blank background, a float32 sum from left to right is off in its fifth digit.
        sums = np.cumsum(x.reshape(-1, x.shape[-1]), axis=0, dtype=np.float32)
        variance = x.var((0, 1, 2), dtype=np.float32) * np.float32(count / (count - self.unbiased))
        new = {"mean": sums[-1] / np.float32(count), "variance": variance}
        return {
            f"parameter:{name}": old * kept + new[name] * (1 - kept)
            for name, old in self.parameters.items()
        }


@pytest.mark.parametrize("momentum", [0.9, 0.99])
@pytest.mark.parametrize(("a", "b"), [(False, False), (True, True), (True, False), (False, True)])
def test_unbiased_moving_variances_are_told_from_the_batchs_own(
    a: bool, b: bool, momentum: float
) -> None:
    chance = np.random.default_rng(0)
    blank = chance.uniform(-0.2, 0.2, 8)
    x = np.where(chance.uniform(size=(32, 14, 14, 1)) < 0.8, blank, chance.normal(0.1, 0.3, 8))
    x = x.astype(np.float32)
    old = {  # The variances are much larger than the batch's, as they are before training.
        "mean": chance.uniform(-0.2, 0.2, 8).astype(np.float32),
        "variance": chance.uniform(0.5, 1.5, 8).astype(np.float32),
    }
    node = Node("norm", "batch_norm", (INPUT,), (14, 14, 8), {}, {n: n for n in old})
    pair: Any = object.__new__(pairs.Pair)
    pair.sides = {"a": Normalising(a, momentum), "b": Normalising(b, momentum)}
    pair.matches, pair.x = [Match(node, node)], {"a": x, "b": x}
    pair.parameters = {"a": old, "b": old}
    pair.audit = Audit("a.py:build", "b.py:build", ("PyTorch", "Keras"))
    records = {}
    for which, side in pair.sides.items():
        side.load(old)
        records[which] = side.record(x, training=True) | {INPUT: x}
    mode._unbiased_variances(pair, records)
    assert [note.split("'s moving")[0] for note in pair.audit.notes] == ["AB"[b]] * (a != b)
    assert pair.sides["a"].parameters["variance"] is old["variance"]  # As it was found.
