"""Initial weights: initialisers, compared as distributions, and weights that were copied."""

from typing import Any

import numpy as np

from diptych.auditing.distributions import of_one_distribution
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.harm import of_deviations
from diptych.auditing.kinds.convolution import flipped
from diptych.auditing.kinds.dense import reordered
from diptych.auditing.kinds.recurrent import other_gate_order
from diptych.auditing.kinds.registry import role_of
from diptych.auditing.match import Match, flattened_by
from diptych.auditing.pair import Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.side import at_once

NAME = "initial weights"
DRAWS = 12
MOST_DRAWS = 48
FEW = 600
"""The number of values of a parameter below which more builds are used."""
BUDGET = 20_000_000
"""The maximum number of values in all builds; at least two builds are used."""
ENOUGH = 4000
"""The number of values of a parameter that is enough to compare distributions."""
CHANCE = 1e-6
"""The probability of a false alarm for one parameter."""
CUT = 0.87962566103423978
"""The standard deviation of a normal distribution truncated at two standard deviations, relative to
that of the full one."""


def check(pair: Pair, report: Reporter) -> Stage:
    """Compares equal weights of both sides directly, and others as distributions."""
    stage = Stage(NAME)
    own = {which: side.own for which, side in pair.sides.items()}
    read = {side.spec.form for side in pair.sides.values()} & {"keras", "onnx", "run"}
    if copied(pair, own["a"], own["b"]):
        drawn = {} if read else _drawn(pair)
        _compare_copies(pair, stage, own["a"], own["b"], set(drawn), report)
        for name, (match, role, draws_a, draws_b) in drawn.items():
            _compare(match, role, draws_a, draws_b, report)
            stage.ok = stage.ok and not report.has_at(match)
            stage.coverage.compared(1, new_on_both_sides=name)
        stage.coverage.compared(len(pair.transfer.names), weights="the numbers themselves")
        stage.note = "one side has the other's weights" if stage.ok else "copied weights"
        return stage
    if read:
        stage.ok, stage.note = None, "the weights come from a file; they are not initial weights"
        return stage
    draws = _count(pair)
    draws_a, draws_b = at_once(pair.sides, lambda which: _draws(pair, which, draws)).values()
    if not (draws_a and draws_b):
        stage.ok, stage.note = None, "the builds of one side have parameters with different names"
        return stage
    compared = 0
    seen: set[tuple[str, str]] = set()
    for match in [*pair.matches, *pair.beside]:
        if not (match.a and match.b):
            continue
        for role, name, partner in match.parameters():
            if (name, partner) in seen:
                continue  # Another output of its layer, or a tied weight.
            seen.add((name, partner))
            of_b = _turned(pair, name, draws_b[partner])
            if draws_a[name].shape != of_b.shape:
                # Other fans, other distributions: what made the shapes differ is found.
                stage.coverage.leave_out(name, "it has a different shape on the other side")
                continue
            compared += 1
            _compare(match, role, draws_a[name], of_b, report)
    stage.coverage.compared(compared, builds=draws)
    if not report.has(NAME):
        _compare_fixed(pair, stage, draws_a, draws_b, report)
    stage.ok = not report.has(NAME)
    stage.note = f"{compared} parameters, Kolmogorov–Smirnov at p = {CHANCE:g} each"
    return stage


def _turned(pair: Pair, name: str, draws: np.ndarray) -> np.ndarray:
    """B's draws of a parameter, (draws, …), with their axes in the order of A's."""
    if name not in pair.transfer.turned:
        return draws
    axes = np.argsort(pair.transfer.turned[name])
    return draws.transpose(0, *(1 + int(axis) for axis in axes))


Drawn = dict[str, tuple[Match, str, np.ndarray, np.ndarray]]
"""The match, the role and the draws of both sides, by A's name of the parameter."""


def _drawn(pair: Pair) -> Drawn:
    """The parameters that each build of either side draws again, such as a new head on copied
    weights."""
    draws = _count(pair)
    a, b = at_once(pair.sides, lambda which: _draws(pair, which, draws)).values()
    if not (a and b):
        return {}
    return {
        name: (match, role, a[name], b[partner])
        for match in [*pair.matches, *pair.beside]
        for role, name, partner in match.parameters()
        if a[name].shape == b[partner].shape
        and not any(np.array_equal(v[0], v[-1]) for v in (a[name], b[partner]))
    }


def _count(pair: Pair) -> int:
    """The number of builds, from the sizes of the parameters; the same for both sides."""
    kernels = [
        pair.sides[which].own[node.parameters["kernel"]].size
        for which, graph in (("a", pair.a), ("b", pair.b))
        for node in graph.nodes
        if "kernel" in node.parameters
    ]
    fewest = max(1, min(kernels, default=FEW))
    wanted = DRAWS if fewest * DRAWS >= FEW else min(MOST_DRAWS, -(-FEW // fewest))
    largest = max(sum(v.size for v in side.own.values()) for side in pair.sides.values())
    return int(np.clip(BUDGET // max(1, largest), 2, wanted))


def _draws(pair: Pair, which: Which, draws: int) -> dict[str, np.ndarray]:
    """The initial values of a side in several builds, (draws, *shape) by name; empty if the builds
    have different names."""
    parts = pair.sides[which].initial(draws)
    own = pair.sides[which].own
    if any(part.keys() != own.keys() for part in parts):
        return {}
    return {name: np.stack([part[name] for part in parts]) for name in own}


def _compare_fixed(
    pair: Pair,
    stage: Stage,
    a: dict[str, np.ndarray],
    b: dict[str, np.ndarray],
    report: Reporter,
) -> None:
    """Reports weights that are the same in every build of each side and differ between the sides.

    A seed or a checkpoint of the user fixes them. No seed gives the same numbers in two frameworks,
    so between frameworks only the distributions are compared.
    """
    fixed = [
        (match, name, partner)
        for match in [*pair.matches, *pair.beside]
        for _, name, partner in match.parameters()
        if a[name].shape == b[partner].shape
        and all(np.array_equal(v[0], v[-1]) for v in (a[name], b[partner]))
        and np.unique(a[name][0]).size >= 16
    ]
    if not fixed:
        return
    if len({side.framework.split()[0] for side in pair.sides.values()}) > 1:
        stage.coverage.leave_out(
            "the numbers themselves",
            "each side's weights are the same in every build, and no seed gives two frameworks "
            "the same; their distributions are compared",
        )
        return
    moved = pair.transfer.to_a({partner: b[partner][0] for _, _, partner in fixed})
    for match, name, partner in fixed:
        if name in moved and not np.allclose(a[name][0], moved[name], rtol=1e-6, atol=1e-12):
            report(
                "weights",
                at=match,
                a=f"{name}: begins with {_first(a[name])}",
                b=f"{partner}: begins with {_first(b[partner])}",
                effect="every build of a side has these: another seed, or another checkpoint",
            )
            return


def _first(builds: np.ndarray) -> str:
    return ", ".join(f"{value:.6g}" for value in builds[0].ravel()[:3])


def copied(pair: Pair, a: Arrays, b: Arrays) -> bool:
    """True if a parameter with many different values is the same on both sides."""
    for name, partner in pair.transfer.names.items():
        value, other = a[name], b[partner]
        # Zeros and ones, as the biases of an LSTM have them, are the same by rule.
        distinct = value.shape == other.shape and np.unique(value).size >= 16
        if distinct and np.allclose(value, other, rtol=1e-6, atol=0):
            return True
    return False


def _compare_copies(
    pair: Pair, stage: Stage, a: Arrays, b: Arrays, drawn: set[str], report: Reporter
) -> None:
    """Compares weights of which some are the same on both sides, so that all should be, except for
    those that each build draws again."""
    moved = pair.transfer.to_a(b)
    for match in [*pair.matches, *pair.beside]:
        if not (match.a and match.b):
            continue
        for name in match.a.parameters.values():
            if name not in moved or name in drawn:
                continue
            difference = float(np.abs(a[name] - moved[name]).max(initial=0.0))
            bound = 2e-7 * float(np.abs(a[name]).max(initial=0.0))
            stage.saw(difference, bound)
            if difference <= bound:
                continue
            stage.ok = False
            raw = b[pair.transfer.names[name]]
            flat = flattened_by(pair.a, match.a)
            other = flattened_by(pair.b, match.b)
            if match.a.kind == "dense" and flat and other and np.allclose(a[name], raw, 1e-6, 0):
                right = reordered(a[name], flat[1], flat[0], other[0])
                share = np.mean(np.abs(right - raw).max(axis=1) > bound)
                report(
                    "flatten-order",
                    at=match,
                    a=f"channels come {flat[0]}",
                    b=f"channels come {other[0]}, the rows copied as they were",
                    effect=f"{share:.0%} of the rows belong to other pixels",
                )
                continue
            if match.a.kind == "conv" and flipped(a[name], raw):
                words = "its kernels, rotated by 180 degrees"
                report("kernel-flipped", at=match, a="its kernels", b=words)
                continue
            order = other_gate_order(match.a.kind, a[name], moved[name])
            if order is not None:
                words = f"the same numbers, with the gates in the order {order}"
                effect = "each gate computes with another one's weights"
                report("weights", at=match, a=f"its {name}", b=words, effect=effect)
                continue
            report(
                "weights",
                at=match,
                a=f"{name}: from {a[name].min():.4g} to {a[name].max():.4g}",
                b=f"{pair.transfer.names[name]}: from {raw.min():.4g} to {raw.max():.4g}",
                effect=f"they differ by up to {difference:.3g}, where other weights are the same",
            )


def _compare(
    match: Match, role: str, draws_a: np.ndarray, draws_b: np.ndarray, report: Reporter
) -> None:
    """Compares the distributions that a parameter is drawn from, (builds, …) each."""
    assert match.a
    one, other = (draws.ravel()[:ENOUGH].astype(np.float64) for draws in (draws_a, draws_b))
    if np.ptp(one) == np.ptp(other) == 0:
        differ = abs(one[0] - other[0]) > 1e-6
        p = 0.0 if differ else 1.0
    else:
        if np.array_equal(draws_a[0], draws_a[-1]):  # One draw, as a fixed seed gives it.
            one = draws_a[0].ravel()[:ENOUGH].astype(np.float64)
        if np.array_equal(draws_b[0], draws_b[-1]):
            other = draws_b[0].ravel()[:ENOUGH].astype(np.float64)
        p = of_one_distribution(one, other)
        # Against a constant, few numbers are enough.
        if min(np.ptp(one), np.ptp(other)) == 0:
            p = 0.0
    if p >= CHANCE:
        return
    dense = match.a.kind == "dense"
    code = role_of(match.a, role).initialiser
    report(
        code,
        at=match,
        a=f"{role}: {named(one, draws_a.shape[1:], dense)}",
        b=f"{role}: {named(other, draws_b.shape[1:], dense)}",
        effect=f"standard deviation {one.std():.3g} against {other.std():.3g}",
        harm=of_deviations(code, float(one.std()), float(other.std())),
    )


def named(values: np.ndarray, shape: tuple[int, ...], dense: bool) -> str:
    """The rule of an initialiser, from its values.

    Args:
        values: numbers that it drew, (n,).
        shape: of the parameter.
        dense: whether it belongs to a dense layer.
    """
    if np.ptp(values) == 0:
        return "zeros" if values[0] == 0 else f"constant {values[0]:.4g}"
    from scipy import stats  # Its import takes longer than most audits need it.

    deviation, largest = float(values.std()), float(np.abs(values).max())
    families: dict[str, Any] = {
        "uniform": stats.uniform(-largest, 2 * largest),
        "normal": stats.norm(0, deviation),
        "truncated normal": stats.truncnorm(-2, 2, 0, max(deviation / CUT, largest / 2)),
    }
    family = max(families, key=lambda name: families[name].logpdf(values).sum())
    if len(shape) < 2:
        return f"{family}, standard deviation {deviation:.3g}"
    receptive = float(np.prod(shape[:-2]))
    fan_in, fan_out = receptive * shape[-2], receptive * shape[-1]
    rules = {
        "Glorot": 2 / (fan_in + fan_out),
        "He": 2 / fan_in,
        "LeCun": 1 / fan_in,
        "1/sqrt(fan in), PyTorch's": 1 / (3 * fan_in),
    }
    near = min(rules, key=lambda rule: abs(np.log(deviation**2 / rules[rule])))
    off = abs(deviation / np.sqrt(rules[near]) - 1)
    fan = f"{near} {family}" if off < 0.1 else family
    return f"{fan}, standard deviation {deviation:.3g}, largest {largest:.3g}"
