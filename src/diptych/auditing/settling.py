"""The counterparts of parameters that shapes do not tell: those with which the outputs agree.

Parameters of one shape in an unknown layer may be in any order, and their axes too. Two layers of
one kind and shape with the same input, such as the mean and the variance of a variational
autoencoder, may be in any order as well.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, permutations

import numpy as np

from diptych.auditing.endings import as_one
from diptych.auditing.graph import Arrays
from diptych.auditing.grouping import ORDERS, is_group, orders
from diptych.auditing.kinds.registry import comparable
from diptych.auditing.match import Match, Transfer, parameter_shapes
from diptych.auditing.pair import SIDES, Pair, Which

CLOSE = 1e-3
"""The relative difference of outputs of two layers with the same parameters that counts as none."""
RUNS = 64
"""The number of runs whose mean is compared if a network draws random numbers."""
BETTER = 0.5
"""The share of the difference of means that another order must leave at most."""
Examples = dict[Which, np.ndarray]


def settled(pair: Pair, examples: Examples) -> Pair:
    """The pair with parameters and layers matched in an order in which the outputs agree; unchanged
    if there is none.

    Args:
        pair: both sides, with their own weights.
        examples: inputs of each side.
    """
    try:
        return _of_siblings(_of_boxes(pair, examples), examples)
    finally:
        for side in pair.sides.values():
            side.load(side.own)


def _of_boxes(pair: Pair, examples: Examples) -> Pair:
    """Parameters of unknown layers, and of groups for them."""
    a, b = pair.sides["a"], pair.sides["b"]
    for match in pair.matches:
        if not (match.a and match.b) or not _is_unknown(match):
            continue
        ways = orders(match, a.own, b.own)
        if len(ways) == 1:
            continue
        if not is_group(match.a) and not is_group(match.b):
            own = dict(pair.transfer.names), dict(pair.transfer.turned)
            ways = [own, *(way for way in ways if way != own)]
        truth = a.record(examples["a"], False)[match.a.name]
        for way in ways:
            attempt = replace(pair, transfer=pair.transfer.with_names(*way))
            b.load(b.own | attempt.transfer.to_b(a.own))
            output = b.record(examples["b"], False)[match.b.name]
            if largest_distance(truth, output) < CLOSE:
                pair = attempt
                break
    return pair


def _is_unknown(match: Match) -> bool:
    assert match.a and match.b
    nodes = (match.a, match.b)
    return bool(match.a.parameters and match.b.parameters) and any(
        node.kind == "custom" or is_group(node) for node in nodes
    )


def _of_siblings(pair: Pair, examples: Examples) -> Pair:
    """Layers of one kind and shape with the same input."""
    families = list(_families(pair))
    if not families or not pair.whole:
        return pair
    a, b = pair.sides["a"], pair.sides["b"]
    truth = a.outputs(examples["a"], False, RUNS)
    drawn = bool(np.any(truth != truth[0]))

    def apart(attempt: Pair) -> float:
        b.load(b.own | attempt.transfer.to_b(a.own))
        outputs = b.outputs(examples["b"], False, RUNS if drawn else 1)
        runs = [as_one(attempt, {"a": x, "b": y}) for x, y in zip(truth, outputs, strict=False)]
        one, other = (np.stack([run[i] for run in runs]) for i in (0, 1))
        return distance_of_means(one, other) if drawn else largest_distance(one, other)

    best = apart(pair)
    for family in families:
        if best < CLOSE:
            break
        for order in islice(permutations(family), 1, ORDERS):
            attempt = _with_partners(pair, family, order, a.own, b.own)
            distance = apart(attempt)
            if distance < (BETTER * best if drawn else CLOSE):
                pair, best = attempt, distance
    return pair


def _families(pair: Pair) -> Iterator[list[int]]:
    """The places of matches whose layers have the same input on both sides, and are of one kind and
    shape."""
    seen: set[int] = set()
    for number, match in enumerate(pair.matches):
        family = [
            other
            for other in range(number, len(pair.matches))
            if other not in seen and _are_siblings(pair, match, pair.matches[other])
        ]
        seen.update(family)
        if len(family) > 1:
            yield family


def _are_siblings(pair: Pair, one: Match, other: Match) -> bool:
    if not (one.a and one.b and other.a and other.b and one.a.parameters):
        return False
    shapes = [
        parameter_shapes(node, pair.sides[which].own)
        for match in (one, other)
        for which, node in zip(SIDES, (match.a, match.b), strict=True)
        if node
    ]
    inputs = one.a.inputs == other.a.inputs and one.b.inputs == other.b.inputs
    alike = comparable(one.a, other.a) and comparable(one.b, other.b) and comparable(one.a, other.b)
    return inputs and alike and all(shape == shapes[0] for shape in shapes)


def _with_partners(
    pair: Pair, family: list[int], order: tuple[int, ...], of_a: Arrays, of_b: Arrays
) -> Pair:
    """The pair in which layers of A have the partners of others of the family."""
    matches = list(pair.matches)
    names: dict[str, str] = {}
    for place, source in zip(family, order, strict=True):
        matches[place] = Match(pair.matches[place].a, pair.matches[source].b)
        own = Transfer.between(pair.a, pair.b, [matches[place]], of_a, of_b)
        names |= own.names
    return replace(pair, matches=matches, transfer=pair.transfer.with_names(names))


def distance_of_means(a: np.ndarray, b: np.ndarray) -> float:
    """The root mean square distance of the means over runs, relative to the mean's size, without
    what chance adds to it; both (runs, n, …)."""
    if a.shape != b.shape:
        return float("inf")
    means = [values.mean(0) for values in (a, b)]
    chance = sum(float(np.mean(values.var(0, ddof=1))) / len(values) for values in (a, b))
    square = float(np.mean(np.square(means[0] - means[1]))) - chance
    return float(np.sqrt(max(0.0, square))) / max(float(np.sqrt(np.mean(means[0] ** 2))), 1e-30)


def largest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The difference of two outputs, relative to the largest number."""
    if a.shape != b.shape:
        return float("inf")
    size = max(float(np.abs(a).max(initial=0.0)), 1e-30)
    return float(np.abs(a.astype(np.float64) - b).max(initial=0.0)) / size
