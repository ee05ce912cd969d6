"""Both sides as whole functions with the same weights, in float64 if possible.

In float64, rounding hides almost nothing, and a difference of meaning is as large as in float32. So
the decision whether two sides mean the same is made here. If one of the sides has no float64 twin,
both are compared in float32, with bounds for its rounding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import numpy as np

from diptych.auditing.certificate import FLOAT32, TWINS, Coverage
from diptych.auditing.examples import Examples
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.side import Answers, Failed, Unable, at_once
from diptych.auditing.weights import Weights

T = TypeVar("T")
CONSTANTS = 2.0**-24
"""The relative rounding of a constant that a framework stores in float32, also in its twin."""
FLOOR = {TWINS: 1e-9, FLOAT32: 2e-5}
"""The difference, relative to the largest number, that never counts."""
REACH = {TWINS: 4.0, FLOAT32: 64.0}
"""The allowed difference, as a multiple of the effect of changing all weights and inputs by
`CONSTANTS`."""
WAYS = 4
"""Ways of moving them that are tried."""
STILL = {TWINS: 1e-10, FLOAT32: 1e-5}
"""The relative difference of two answers to the same question that does not count as randomness."""
LOOKS = 24
"""The number of answers that show whether a side draws random numbers, even rarely."""
FEW = 4
"""The number of examples in these answers."""
COUNT = 230
"""The number of examples of the epoch that shows a side's batch sizes; no common size divides it.
"""
LARGEST_BATCH = 256


class Twins:
    """Both sides, asked the same questions with the same weights."""

    def __init__(self, pair: Pair, examples: Examples, weights: Weights, unit: float) -> None:
        """Builds the twins.

        Args:
            pair: both sides.
            examples: what they are asked with.
            weights: what both have, in float32.
            unit: how much coarser than float32 the coarser side computes.
        """
        self.pair, self.examples, self.weights = pair, examples, weights
        self.missing: list[str] = []
        """The reasons why there are no twins, if there are none."""
        self.float32_unit = unit
        self.precision = FLOAT32
        self.answers: dict[Which, Answers] = dict(pair.sides)
        self.inputs = {which: self.typed(x) for which, x in examples.x.items()}
        """The examples' inputs in the precision of the comparison."""
        opened = at_once(pair.sides, lambda which: pair.sides[which].open_twin())
        for which, twin in opened.items():
            if twin is None:
                side = pair.sides[which]
                self.missing.append(f"{side.label} has no float64 twin: {side.no_twin}")
        if not self.missing:
            self.precision = TWINS
            self.answers = {which: twin for which, twin in opened.items() if twin}
            self.inputs = exact_inputs(examples, self.answers)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the sides' own batches, and of the last, smaller ones."""
        found: list[int] = []
        for side in self.pair.sides.values():
            try:
                epochs = side.batches(COUNT, 1) if side.trains else None
            except (Failed, Unable):
                continue
            if epochs and epochs[0]:
                found += [len(epochs[0][0][1]), len(epochs[0][-1][1])]
        return tuple(size for size in dict.fromkeys(found) if size <= LARGEST_BATCH)

    @cached_property
    def own_code(self) -> dict[str, bool]:
        """Shows whether the code of either user runs in ``steps`` and in ``updates``. Such code may
        count steps anywhere; without it, only learning rates and settings distinguish steps."""
        size = max(1, len(self.examples.x["a"]) // 4)
        x = {which: self.inputs[which][:size] for which in SIDES}
        y = {which: self.examples.y[which][:size] for which in SIDES}
        try:
            answers = self.ask(lambda side, which: side.own_code(x[which], y[which]))
        except (Failed, Unable):
            return {"steps": True, "updates": True}
        return {k: any(answer[k] for answer in answers.values()) for k in ("steps", "updates")}

    @cached_property
    def draws(self) -> dict[Which, bool]:
        """Shows whether a side's loss or gradients vary between calls with dropout off, which means
        that its own code draws random numbers."""
        size = max(1, len(self.examples.x["a"]) // 4)

        def varies(side: Answers, which: Which) -> bool:
            x = self.inputs[which][:size]
            y = self.examples.y[which][:size]
            loss, one = side.loss_and_gradients(x, y, draw=1)
            others = (side.loss_and_gradients(x, y, draw) for draw in range(2, LOOKS))
            largest = max(map(_largest, one.values()), default=0.0)
            bound = self.unit * STILL[self.precision]
            return any(
                abs(other_loss - loss) > bound * abs(loss)
                or any(distance(one[n], other[n]) > bound * largest for n in one.keys() & other)
                for other_loss, other in others
            )

        return self.ask(varies)

    @cached_property
    def network_draws(self) -> dict[Which, bool]:
        """Shows whether the outputs of a side's network vary from run to run in training."""

        def varies(side: Answers, which: Which) -> bool:
            x = self.inputs[which][:FEW]
            runs = side.outputs(x, training=True, runs=LOOKS)
            bound = self.unit * STILL[self.precision] * _largest(runs[0])
            return any(distance(run, runs[0]) > bound for run in runs[1:])

        return self.ask(varies)

    @property
    def has_float64(self) -> bool:
        """True if both sides compute in float64."""
        return self.precision == TWINS

    @property
    def unit(self) -> float:
        """The rounding of the less precise side, relative to float32; 1 for twins."""
        return 1.0 if self.precision == TWINS else self.float32_unit

    def ask(self, question: Callable[[Answers, Which], T]) -> dict[Which, T]:
        """The answers of both sides, which are asked at the same time."""
        return at_once(self.pair.sides, lambda which: question(self.answers[which], which))

    @contextmanager
    def used(self, coverage: Coverage) -> Iterator[None]:
        """Context of the questions of one stage: notes the precision, and restores the weights
        afterwards."""
        coverage.precision = self.precision
        try:
            yield
        finally:
            if self.precision == FLOAT32:
                self.pair.load(self.weights)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Puts all weights back in the end, those too that have no partner: training may use
        weights that predictions do not, such as a discriminator's."""
        try:
            yield
        finally:
            for which, side in self.answers.items():
                side.load({n: self.typed(value) for n, value in self.weights[which].items()})

    def start(self) -> Arrays:
        """The weights of both sides in the float32 stages, by A's names, as float64."""
        own = self.weights["a"]
        return {name: self.typed(own[name]) for name in self.pair.transfer.names}

    def load(self, parameters: Arrays) -> None:
        """Loads weights, by A's names, into both sides."""
        of_b = self.pair.transfer.to_b(parameters)
        self.ask(lambda side, which: side.load(parameters if which == "a" else of_b))

    def typed(self, array: np.ndarray) -> np.ndarray:
        """The values in the precision of the comparison; integers stay integers."""
        if array.dtype.kind != "f":
            return array
        return array.astype(np.float64 if self.precision == TWINS else np.float32)

    def floor(self, size: float) -> float:
        """The difference that never counts, for values of this size."""
        return self.unit * FLOOR[self.precision] * size

    def bound(
        self, value: np.ndarray, difference: float, moved: Callable[[int], np.ndarray]
    ) -> float:
        """The distance from a value that rounding explains, or less where less explains it.

        Args:
            value: the answer.
            difference: the distance that is to be explained.
            moved: gives the same answer with all weights and inputs moved by `CONSTANTS`, in
                another way for another number. It is called as often as it takes to explain the
                difference, at most `WAYS` times: in one way, the effects on a single number, such
                as a loss, may cancel.
        """
        reach = self.unit * REACH[self.precision]
        return explained(
            difference,
            self.floor(_largest(value)) + 1e-300,
            lambda way: reach * _largest(moved(way) - value),
        )


def exact_inputs(examples: Examples, twins: dict[Which, Answers]) -> Arrays:
    """The inputs of both twins in float64.

    Where both sides prepare the same images, so do the twins, so that 1/255 is not rounded to
    float32 on the side that scales images before its network alone. A twin that prepares something
    else, such as other random crops, leaves both with what the sides prepared.
    """
    rounded = {which: _wide(x) for which, x in examples.x.items()}
    if examples.images is None:
        return rounded
    images, labels = examples.images
    try:
        exact = {which: _wide(twin.prepare(images, labels)[0]) for which, twin in twins.items()}
    except (Failed, Unable):
        return rounded
    same = all(
        exact[which].dtype == x.dtype
        and distance(exact[which], x) <= 4 * CONSTANTS * _largest(x.astype(np.float64))
        for which, x in rounded.items()
    )
    return exact if same else rounded


def _wide(array: np.ndarray) -> np.ndarray:
    """Floats as float64; integers as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def explained(
    difference: float, floor: float, effect: Callable[[int], float], ways: int = WAYS
) -> float:
    """The distance that rounding explains, or less where less explains the difference.

    Args:
        difference: the distance that is to be explained.
        floor: the distance that is never a difference.
        effect: the distance that is explained by moving all numbers in the way of a number. It is
            called as often as it takes to explain the difference.
        ways: how often it may be called.
    """
    bound = floor
    for way in range(ways):
        if difference <= bound:
            break
        bound = max(bound, floor + effect(way))
    return bound


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference; infinite if only one of two values is finite."""
    if a.shape != b.shape:
        return float("inf")
    both = ~np.isfinite(a) & ~np.isfinite(b)
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.where(both, 0.0, np.abs(a.astype(np.float64) - b))
    return float(np.nan_to_num(away, nan=np.inf, posinf=np.inf).max(initial=0.0))


def moved(arrays: Arrays, seed: int = 0, times: float = 1.0) -> Arrays:
    """The arrays with every value changed by ``times`` `CONSTANTS` of its size, up or down."""
    chance = np.random.default_rng(seed)
    return {name: nudged(value, chance, times) for name, value in arrays.items()}


def nudged(value: np.ndarray, chance: np.random.Generator, times: float = 1.0) -> np.ndarray:
    """One array changed like this; integers are not changed."""
    if value.dtype.kind != "f":
        return value
    size = times * (CONSTANTS if value.dtype == np.float64 else 2 * CONSTANTS)
    factor = 1 + size * chance.choice([-1.0, 1.0], value.shape)
    return (value * factor).astype(value.dtype)
