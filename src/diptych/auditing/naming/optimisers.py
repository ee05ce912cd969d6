"""Optimisers that differ: each is recovered from its steps in float32.

Both get the same gradients from the same weights. If their steps differ, the settings in which the
two optimisers differ are named.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.match import Match
from diptych.auditing.naming import optimiser_settings, rates
from diptych.auditing.naming.paths import Difference
from diptych.auditing.optimisers import Observed, Recovered, predicted, recover
from diptych.auditing.pair import SIDES, Pair, Which, trained
from diptych.auditing.probes import steps as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Side, Unable
from diptych.auditing.weights import Weights
from diptych.randomness import generator

NAME = "update"
STEPS = 10
PACE = np.array(probes.PACE)
LARGE = 1e4
"""The factor of the gradients with which clipping, if there is any, must show."""


@dataclass
class Probe:
    """Gradients and initial weights for side A by its names, and the places of the values."""

    weights: Arrays
    gradients: list[Arrays]
    places: dict[str, np.ndarray]
    """By parameter, the flat indices of the numbers that get a gradient."""


def explain(pair: Pair, weights: Weights, differences: list[Difference], report: Reporter) -> None:
    """Reports the differing settings of two optimisers, as far as float32 shows them.

    Args:
        pair: both sides; they have the weights again afterwards.
        weights: of both sides.
        differences: of their steps.
        report: takes the findings.
    """
    stage = Stage(NAME)
    names = [n for n in trained(pair.sides["a"]) if n in pair.of_layers]
    probe = _probe(pair.sides["a"].own, names)
    paths = _paths(pair, probe)
    if paths is None:
        return
    still = _frozen(pair, probe, paths, report) | _constraints(pair, names, report)
    moving = {name: places for name, places in probe.places.items() if name not in still}
    observed = _in_blocks({which: _observed(probe, moving, paths[which]) for which in SIDES})
    same = _same(stage, observed["a"], observed["b"])
    said = {which: pair.sides[which].optimiser for which in SIDES}
    recovered = {which: recover(observed[which], said[which], False) for which in SIDES}
    if not all(each.explained for each in recovered.values()):
        if not same and _by_layer(pair, probe, moving, paths, report):
            pair.load(weights)
            return
        if not still and rates.explain(differences, report):
            pair.load(weights)
            return
        recovered = {"a": recover(observed["a"], said["a"])}
        recovered["b"] = recovered["a"] if same else recover(observed["b"], said["b"])
    if same:  # One optimiser: few numbers may fit another as well, so the side that names it tells.
        known = recovered["a" if said["a"].get("kind") else "b"]
        recovered = {"a": known, "b": known}
    else:
        optimiser_settings.compare(recovered, said, report)
    every_step = len(observed["a"].gradients) == STEPS
    if moving and every_step and recovered["a"].explained and recovered["b"].explained:
        _large(pair, probe, moving, recovered, report)
    pair.load(weights)


def _by_layer(
    pair: Pair,
    probe: Probe,
    moving: dict[str, np.ndarray],
    paths: dict[Which, list[Arrays]],
    report: Reporter,
) -> bool:
    """True if the optimisers are known for each layer, as with parameter groups; then reports in
    which settings each layer's differ."""
    said = {which: pair.sides[which].optimiser for which in SIDES}
    known: list[tuple[Match, dict[Which, Recovered]]] = []
    for match in pair.matches:
        for _, name, _ in match.parameters():
            if name not in moving:
                continue
            places = {name: moving[name]}
            by_step = {which: _observed(probe, places, paths[which]) for which in SIDES}
            observed = _in_blocks(by_step)
            if _same(Stage(NAME), observed["a"], observed["b"]):
                continue
            recovered = {which: recover(observed[which], said[which], False) for which in SIDES}
            if not all(each.explained for each in recovered.values()):
                return False
            known.append((match, recovered))
    for match, recovered in known:
        optimiser_settings.compare(recovered, said, partial(report, at=match))
    return bool(known)


def _probe(own: Arrays, names: list[str]) -> Probe:
    """Gradients of all sizes for some numbers of every parameter, zero for the others."""
    chance = generator(0, "audit/gradients")
    weights, places = {}, {}
    steps: list[Arrays] = [{} for _ in range(STEPS)]
    for name in names:
        value = own[name]
        count = min(probes.ELEMENTS, value.size)
        chosen = chance.choice(value.size, size=count, replace=False)
        sizes = 10 ** chance.uniform(-9, -2, count) * chance.choice([-1, 1], count)
        start = np.zeros(value.size, np.float32)
        # Half of them begin at zero, where the smallest step shows; a parameter of one number too.
        start[chosen[1::2]] = chance.uniform(-0.5, 0.5, len(chosen[1::2]))
        weights[name], places[name] = start.reshape(value.shape), chosen
        begins = chance.integers(len(PACE), size=count)
        for number, step in enumerate(steps):
            flat = np.zeros(value.size, np.float32)
            flat[chosen] = sizes * PACE[(begins + number) % len(PACE)]
            step[name] = flat.reshape(value.shape)
    return Probe(weights, steps, places)


def ask(side: Side) -> None:
    """Asks a side everything that an optimiser is recovered from, for a recording."""
    names = trained(side)
    probe = _probe(side.own, names)
    for each in (probe, _grown(probe), _at_rest(side.own, names)):
        side.load(each.weights)
        try:
            side.updates_on(each.gradients)
        except Unable:
            return


def _path(pair: Pair, which: Which, probe: Probe) -> list[Arrays] | None:
    """A side's weights after each step, by A's names; None if it takes no gradients."""
    side, transfer = pair.sides[which], pair.transfer
    others = {name: np.zeros_like(side.own[name]) for name in trained(side)}
    ours = which == "a"
    side.load(probe.weights if ours else transfer.to_b(probe.weights))
    steps = [step if ours else transfer.to_b(step) for step in probe.gradients]
    try:
        path = side.updates_on([others | step for step in steps])
    except Unable:
        return None
    return path if ours else [transfer.to_a(step) for step in path]


def _paths(pair: Pair, probe: Probe) -> dict[Which, list[Arrays]] | None:
    """Both sides' weights after each step; None where a side's step takes no gradients."""
    paths = {which: _path(pair, which, probe) for which in SIDES}
    return {which: path for which, path in paths.items() if path} if all(paths.values()) else None


def _frozen(
    pair: Pair, probe: Probe, paths: dict[Which, list[Arrays]], report: Reporter
) -> set[str]:
    """Parameters that a side's steps do not change; reported if the other side's steps do."""
    still: set[str] = set()
    for match in pair.matches:
        if not (match.a and match.b):
            continue
        gone = {}
        for name in match.a.parameters.values():
            if name not in probe.places:
                continue
            moves = [bool(np.any(paths[which][-1][name] != probe.weights[name])) for which in SIDES]
            if not all(moves):
                still.add(name)
            if moves[0] != moves[1]:
                gone[name] = moves
        if gone and not report.has_at(match, "frozen-parameter"):
            moves = next(iter(gone.values()))
            words = ["is trained", "not trained: no step changes it"]
            a, b = words if moves[0] else words[::-1]
            effect = f"parameters {', '.join(gone)}"
            report("frozen-parameter", at=match, a=a, b=b, effect=effect, stage="gradients")
    return still


def _observed(probe: Probe, places: dict[str, np.ndarray], path: list[Arrays]) -> Observed:
    def row(arrays: Arrays) -> np.ndarray:
        parts = [arrays[name].ravel()[chosen] for name, chosen in places.items()]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float64)

    gradients = np.stack([row(step) for step in probe.gradients])
    weights = np.stack([row(probe.weights), *(row(step) for step in path)])
    return Observed(gradients, weights)


def _in_blocks(observed: dict[Which, Observed]) -> dict[Which, Observed]:
    """The paths of two optimisers that accumulate gradients over the same steps, block by block;
    others are unchanged."""
    blocks = {which: path.in_blocks() for which, path in observed.items()}
    alike = blocks["a"].weights.shape == blocks["b"].weights.shape
    return blocks if alike else observed


def _same(stage: Stage, a: Observed, b: Observed) -> bool:
    """True if the steps of two sides are the same up to rounding.

    In float32, 1 - beta**t is off by up to 3e-5 in the first steps of Adam.
    """
    moved = np.abs(np.diff(a.weights, axis=0))
    bounds = 2e-4 * moved + 4e-7 * np.abs(a.weights[:-1]) + 1e-12
    away = np.abs(np.diff(a.weights, axis=0) - np.diff(b.weights, axis=0))
    if not away.size:
        return True
    # A number near zero may have lost its digits to a larger weight.
    worst = np.unravel_index(np.argmax(away / bounds), away.shape)
    stage.saw(float(away[worst]), float(bounds[worst]))
    return bool(np.mean(away > bounds) < 0.002)


def _grown(probe: Probe) -> Probe:
    """A probe's first steps with gradients that are far too large."""
    steps = [
        {name: (g * LARGE).astype(np.float32) for name, g in step.items()}
        for step in probe.gradients[:3]
    ]
    return Probe(probe.weights, steps, probe.places)


def _large(
    pair: Pair,
    probe: Probe,
    places: dict[str, np.ndarray],
    recovered: dict[Which, Recovered],
    report: Reporter,
) -> None:
    """Compares how both sides clip gradients that are far too large."""
    grown = _grown(probe)
    paths = _paths(pair, grown)
    if paths is None:
        return
    cuts = {
        which: _cut(recovered[which], pair.sides[which].optimiser, grown, places, paths[which])
        for which in SIDES
    }
    if cuts["a"] != cuts["b"]:
        report("gradient-clipping", a=cuts["a"], b=cuts["b"])


def _cut(
    known: Recovered,
    said: dict[str, Any],
    grown: Probe,
    places: dict[str, np.ndarray],
    path: list[Arrays],
) -> str:
    """How a side clips large gradients, in words, by comparing its first steps with candidates."""
    bare = _observed(grown, places, path)
    if _explains(known, bare):
        return "none"
    thresholds = [
        float(said[key]) for key in ("clip_value", "clip_norm", "clip_global_norm") if said.get(key)
    ]
    if known.family == "sgd":  # The first step is the cut gradient itself.
        rate = known.rates[0]
        cut = np.abs(np.diff(bare.weights, axis=0)[0]) / rate
        decimals = [float(cut.max()), float(np.sqrt(np.sum(cut**2)))]
        for name in places:
            one = _observed(grown, {name: places[name]}, path)
            moved = np.diff(one.weights, axis=0)[0] / rate
            decimals.append(float(np.sqrt(np.sum(moved**2))))
        thresholds += [float(f"{value:.3g}") for value in decimals]
    thresholds += [1.0, 0.5, 0.1, 5.0, 10.0, 0.01, 2.0, 100.0]
    for threshold in dict.fromkeys(t for t in thresholds if t > 0):
        for form, words in (
            ("value", "each value to {:g}"), ("norm", "the norm of each parameter to {:g}"),
            ("global", "the global norm to {:g}"),
        ):  # fmt: skip
            cut = Probe(
                grown.weights, [_clipped(s, form, threshold) for s in grown.gradients], grown.places
            )
            if _explains(known, _observed(cut, places, path)):
                return words.format(threshold)
    return "in a custom way"


def _clipped(gradients: Arrays, form: str, threshold: float) -> Arrays:
    if form == "value":
        return {n: np.clip(g, -threshold, threshold) for n, g in gradients.items()}
    norms = {
        n: float(np.sqrt(np.sum(np.square(g, dtype=np.float64)))) for n, g in gradients.items()
    }
    whole = float(np.sqrt(sum(norm**2 for norm in norms.values())))
    return {
        n: g * min(1.0, threshold / max(whole if form == "global" else norms[n], 1e-30))
        for n, g in gradients.items()
    }


def _explains(known: Recovered, observed: Observed) -> bool:
    """True if a recovered optimiser, at its own rates, predicts the steps within a hundredth."""
    moved = np.diff(observed.weights, axis=0)
    steps = predicted(known, observed)
    near = (
        np.abs(steps - moved) <= 0.01 * np.abs(moved) + 1e-6 * np.abs(observed.weights[:-1]) + 1e-9
    )
    return bool(np.mean(near) > 0.97)


def _at_rest(own: Arrays, names: list[str]) -> Probe:
    """Large weights, and a step with zero gradients."""
    chance = generator(4, "audit/constraints")
    weights = {n: chance.normal(0, 10, own[n].shape).astype(np.float32) for n in names}
    return Probe(weights, [{n: np.zeros_like(v) for n, v in weights.items()}], {})


def _constraints(pair: Pair, names: list[str], report: Reporter) -> set[str]:
    """Reports parameters that are pulled in after a step if they are large, on one side only; those
    that either side pulls in are returned."""
    pulled_in: set[str] = set()
    probe = _at_rest(pair.sides["a"].own, names)
    weights, paths = probe.weights, _paths(pair, probe)
    if paths is None:
        return pulled_in
    after = {which: path[0] for which, path in paths.items()}
    for match in pair.matches:
        if not (match.a and match.b):
            continue
        for role, name in match.a.parameters.items():
            if name not in weights:
                continue
            shrunk = [
                float(np.linalg.norm(after[which][name]) / np.linalg.norm(weights[name]))
                for which in SIDES
            ]
            if min(shrunk) < 0.95:
                pulled_in.add(name)
            if abs(shrunk[0] - shrunk[1]) > 0.05:
                of_a, of_b = (
                    f"unchanged ({role})"
                    if share > 0.95
                    else f"limited to {np.abs(after[which][name]).max():.4g} ({role})"
                    for share, which in zip(shrunk, SIDES, strict=True)
                )
                largest = np.abs(weights[name]).max()
                effect = f"weights of {largest:.3g} after a step with zero gradients"
                report("weight-constraint", at=match, a=of_a, b=of_b, effect=effect)
    return pulled_in
