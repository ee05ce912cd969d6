"""Stages on sides of a few numbers, which need no process of their own."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from diptych.auditing.black_boxes import Comparison
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.gradients import Plan, watching
from diptych.auditing.graph import INPUT, Arrays, Graph, Node
from diptych.auditing.match import Final, Match, Transfer, align
from diptych.auditing.naming import gradients
from diptych.auditing.naming.formulas import TAKES
from diptych.auditing.naming.losses import Outputs, candidates, recovered
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Audit, Stage
from diptych.auditing.stages import initial, mode, schedule

STAGES = Path(initial.__file__).parent
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


def pair_of(a: Any, b: Any) -> Pair:
    """As much of a pair as the stages here look at."""
    matches = align(GRAPH, GRAPH, a.own, b.own)
    transfer = Transfer.between(GRAPH, GRAPH, matches, a.own, b.own)
    graphs: dict[str, Graph] = {"a": GRAPH, "b": GRAPH}
    final: dict[Which, Final] = {"a": None, "b": None}
    return Pair({"a": a, "b": b}, graphs, GRAPH, GRAPH, final, matches, transfer)


def weights_of(pair: Pair) -> dict[str, Arrays]:
    return {which: side.own for which, side in pair.sides.items()}


def reporter(stage: str) -> Reporter:
    return Reporter(Audit("a.py:build", "b.py:build", ("PyTorch", "Keras")), stage)


def codes_of(report: Reporter) -> list[str]:
    return [finding.code for finding in report.audit.findings]


ZEROS = {"a": np.zeros((2, 13)), "b": np.zeros((2, 13))}
EXAMPLES = Examples(ZEROS, ZEROS, ZEROS, ZEROS)


def test_thirteen_numbers_are_drawn_often_enough_to_tell_initialisers_apart() -> None:
    pair = pair_of(Drawn(13**-0.5), Drawn((6 / 14) ** 0.5, seed=1))  # PyTorch's and Glorot's.
    report = reporter("initial weights")
    assert initial.check(pair, report).ok is False
    assert codes_of(report) == ["kernel-initialiser"]
    alike = pair_of(Drawn(0.3), Drawn(0.3, seed=1))
    assert initial.check(alike, reporter("initial weights")).ok is not False


@pytest.mark.parametrize(("wrong_at", "codes"), [("none", 0), ("first", 0), ("all", 1)])
def test_gradients_differ_only_if_they_do_so_at_other_weights_too(
    wrong_at: str, codes: int
) -> None:
    side = Kinked(wrong_at)
    pair = pair_of(Kinked("none"), side)
    report = reporter("gradients")
    formulas: dict[str, Any] = {"a": None, "b": None}
    found = gradients.explain(pair, EXAMPLES, weights_of(pair), 1.0, formulas, True, report)
    assert found is (codes != 0)
    assert codes_of(report) == ["unexplained"] * codes
    assert np.array_equal(side.parameters["kernel"], side.own["kernel"])  # As it was found.


def test_a_cross_entropy_by_hand_is_known_for_what_it_takes() -> None:
    from diptych.auditing import losses

    chance = np.random.default_rng(0)
    z, y = chance.normal(0, 2, (6, 10)), chance.integers(10, size=6)
    by_hand = -np.log(np.clip(z[np.arange(6), y], 1e-7, 1)).mean()
    near = [
        formula["takes"]
        for formula in candidates("classes")
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
    report = reporter("mode")
    comparison = Comparison(pair, 1.0, {}, True, report)
    inputs = {"a": [x], "b": [x]}
    comparison.compare_distributions(Match(node, node), inputs, Stage("mode"))
    assert codes_of(report) == codes


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
    match = Match(node, node)
    sides: Any = {"a": Normalising(a, momentum), "b": Normalising(b, momentum)}
    graph = Graph((14, 14, 8), (node,))
    pair = Pair(
        sides,
        {"a": graph, "b": graph},
        graph,
        graph,
        {"a": None, "b": None},
        [match],
        Transfer({}, {}),
    )
    report, inputs = reporter("mode"), {"a": x, "b": x}
    records = {}
    for which, side in pair.sides.items():
        side.load(old)
        records[which] = side.record(x, training=True) | {INPUT: x}
    examples, weights = Examples(inputs, inputs, inputs, inputs), {"a": old, "b": old}
    mode._unbiased_variances(pair, [(node, node)], examples, weights, records, report)
    notes = report.audit.notes
    assert [note.split("'s moving")[0] for note in notes] == ["AB"[b]] * (a != b)
    assert sides["a"].parameters["variance"] is old["variance"]  # As it was found.


@pytest.mark.parametrize("path", sorted(STAGES.glob("*.py")), ids=lambda path: path.stem)
def test_no_stage_imports_another(path: Path) -> None:
    imported = [
        node.module or ""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]
    assert not [module for module in imported if "stages" in module]


class Losing:
    """A side that gives the loss of some outputs, and nothing else."""

    def __init__(self, targets: str, loss: Callable[[np.ndarray, np.ndarray], float]) -> None:
        self.targets, self.loss = targets, loss
        self.graph = Graph((13,), (replace(NODE, shape=(3,)),))
        self.own = {"kernel": np.ones((13, 3), np.float32), "bias": np.zeros(3, np.float32)}


def entropies(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = z.astype(np.float64)
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]


WEIGHTS = np.array([1.0, 55.0, 0.25])


def smoothed(z: np.ndarray, y: np.ndarray) -> float:
    uniform = np.mean([entropies(z, np.full(len(z), c)) for c in range(3)], axis=0)
    return float(np.mean(0.93 * entropies(z, y) + 0.07 * uniform))


def huber(z: np.ndarray, y: np.ndarray) -> float:
    away = np.abs(z.astype(np.float64) - y)
    return float(np.mean(np.where(away < 2.5, away**2 / 2, 2.5 * (away - 1.25))))


@pytest.mark.parametrize(
    ("targets", "loss", "expected"),
    [
        ("classes", smoothed, {"smoothing": 0.07, "reduction": "mean"}),
        (
            "classes",
            lambda z, y: float(np.mean(WEIGHTS[y] * entropies(z, y))),
            {"weights": WEIGHTS.tolist(), "reduction": "mean"},
        ),
        (
            "classes",
            lambda z, y: float(np.sum(WEIGHTS[y] * entropies(z, y)) / np.sum(WEIGHTS[y])),
            {"weights": WEIGHTS.tolist(), "reduction": "weighted_mean"},
        ),
        ("values", huber, {"kind": "huber", "delta": 2.5, "smooth": False}),
        ("values", lambda z, y: huber(z, y) / 2.5, {"delta": 2.5, "smooth": True}),
    ],
    ids=["smoothing", "weights", "weighted mean", "Huber", "smooth L1"],
)
def test_the_numbers_in_a_loss_are_recovered(targets: str, loss: Any, expected: Any) -> None:
    side: Any = Losing(targets, loss)
    graph = side.graph
    pair = Pair({"a": side, "b": side}, {}, graph, graph, {"a": None, "b": None}, [], None)  # pyright: ignore
    like = np.zeros(4) if targets == "classes" else np.zeros((4, 3))
    formula, _ = recovered(Outputs(pair, "a", like), 2e-5)
    assert formula is not None and expected.items() <= formula.items()


def test_a_penalty_is_in_each_steps_gradient() -> None:
    value = np.array([[2.0, -1.0, 3.0]])
    parts = {"w": np.array([2, 0])}, {"w": np.zeros(2)}, {"w": np.array([1.0, 4.0])}
    plan = Plan(*parts, {"w": np.zeros(2, int)}, [1.0], [0.5], {"w": 0.01})
    again = Plan.from_message(*plan.to_message())
    step = again.step({"w": value.shape}, 0)
    assert callable(step)
    np.testing.assert_allclose(step({"w": value})["w"], [[2.0, 0.0, 0.5]] + 0.02 * value)


def test_watched_numbers_keep_their_order_on_the_other_side() -> None:
    shape = (2, 3, 4)
    own = {"kernel": np.arange(24 * 5.0).reshape(24, 5), "bias": np.arange(5.0)}
    names = {"kernel": "weight", "bias": "b"}
    transfer = Transfer(names, {"kernel": (shape, "last", "first")})
    places = {"kernel": np.array([7, 100, 3]), "bias": np.array([4, 0])}
    of_b = transfer.places_to_b(places, own)
    there = watching(of_b)(transfer.to_b(own))
    here = watching(places)(own)
    for name, partner in names.items():
        np.testing.assert_array_equal(there[partner], here[name])


class Followed:
    """A side whose rate changes at some steps, and which is followed for some steps."""

    def __init__(self, label: str, changes: list[list[float]], steps: int) -> None:
        self.label, self.changes, self.steps = label, changes, steps

    def plan(self) -> dict[str, Any]:
        return {"horizon": {"steps": 10_000, "source": ""}}

    def rates(self, steps: int) -> tuple[np.ndarray, int, str]:
        reach = min(steps, self.steps)
        return np.array(self.changes), reach, "" if reach == steps else "it takes long"


@pytest.mark.parametrize(("change", "codes"), [(400, ["schedule"]), (600, [])])
def test_rates_are_compared_as_far_as_both_were_followed(change: int, codes: list[str]) -> None:
    sides = {
        "a": Followed("A", [[0, 0.1]], 500),
        "b": Followed("B", [[0, 0.1], [change, 0.01]], 10_000),
    }
    audit = Audit("a", "b", ("", ""))
    stage = schedule.check(cast(Pair, SimpleNamespace(sides=sides)), Reporter(audit, schedule.NAME))
    assert [finding.code for finding in audit.findings] == codes
    assert stage.coverage.steps == 500
    assert stage.coverage.left_out == ["the learning rates of A after step 500: it takes long"]
