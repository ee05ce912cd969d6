"""Optimisers that differ: each is recovered from its steps in float32.

Both get the same gradients from the same weights. If their steps differ, the settings in which the
two optimisers differ are named.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.optimisers import Observed, Recovered, predicted, recover
from diptych.auditing.pair import SIDES, Pair, Which, trained
from diptych.auditing.probes import steps as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Unable
from diptych.auditing.weights import Weights
from diptych.randomness import generator

NAME = "update"
STEPS = 10
PACE = np.array(probes.PACE)
LARGE = 1e4
"""How much larger the gradients are that clipping, if there is any, must show on."""


@dataclass
class Probe:
    """Gradients and weights to start from, for side A by its names, and where the numbers are."""

    weights: Arrays
    gradients: list[Arrays]
    places: dict[str, np.ndarray]
    """By parameter, the flat indices of the numbers that get a gradient."""


def explain(pair: Pair, weights: Weights, report: Reporter) -> None:
    """Reports the settings in which two optimisers differ, as far as float32 shows them.

    Both sides have the given weights again afterwards.
    """
    stage = Stage(NAME)
    names = [n for n in trained(pair.sides["a"]) if n in pair.transfer.names]
    probe = _probe(pair.sides["a"].own, names)
    paths = _paths(pair, probe)
    if paths is None:
        return
    still = _frozen(pair, probe, paths, report) | _constraints(pair, names, report)
    moving = {name: places for name, places in probe.places.items() if name not in still}
    observed = {which: _observed(probe, moving, paths[which]) for which in SIDES}
    same = _same(stage, observed["a"], observed["b"])
    recovered = {"a": recover(observed["a"], pair.sides["a"].optimiser)}
    recovered["b"] = recovered["a"] if same else recover(observed["b"], pair.sides["b"].optimiser)
    if not same:
        _compare(recovered["a"], recovered["b"], report)
    if moving and recovered["a"].explained and recovered["b"].explained:
        _large(pair, probe, moving, recovered, report)
    pair.load(weights)


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
        start[chosen[::2]] = chance.uniform(-0.5, 0.5, len(chosen[::2]))
        weights[name], places[name] = start.reshape(value.shape), chosen
        begins = chance.integers(len(PACE), size=count)
        for number, step in enumerate(steps):
            flat = np.zeros(value.size, np.float32)
            flat[chosen] = sizes * PACE[(begins + number) % len(PACE)]
            step[name] = flat.reshape(value.shape)
    return Probe(weights, steps, places)


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
    """Parameters that a side's steps do not move; reported where the other side's do."""
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
            words = ["is trained", "is not trained: no step moves it"]
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


def _same(stage: Stage, a: Observed, b: Observed) -> bool:
    """Whether two sides' steps are the same but for rounding.

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


def _compare(a: Recovered, b: Recovered, report: Reporter) -> None:
    """Names every setting in which two recovered optimisers differ."""
    for side, optimiser in (("A", a), ("B", b)):
        if not optimiser.explained:
            effect = f"{side}'s steps are of no optimiser known here (nearest: {optimiser.family})"
            report("optimiser", a="its steps", b="other steps", effect=effect)
            return
    if a.family != b.family:
        report("optimiser", a=_described(a), b=_described(b))
        return
    added_up = [bool(optimiser.settings.get("accumulate")) for optimiser in (a, b)]
    if added_up[0] != added_up[1]:
        words = [
            "added to those of the steps before" if added else "cleared each step"
            for added in added_up
        ]
        report(
            "gradients-not-cleared",
            a=words[0],
            b=words[1],
            effect="from the second step on",
            stage="gradients",
        )
    _rates(a, b, report)
    for name, code in (
        ("momentum", "momentum"), ("beta_1", "beta-1"), ("beta_2", "beta-2"), ("rho", "beta-2")
    ):  # fmt: skip
        if name in a.settings and _apart(1 - a.settings[name], 1 - b.settings[name], 0.01):
            of_a, of_b = (f"{name} {optimiser.settings[name]:.4g}" for optimiser in (a, b))
            report(code, a=of_a, b=of_b)
    if a.settings.get("nesterov", False) != b.settings.get("nesterov", False):
        of_a, of_b = (
            "Nesterov's momentum" if optimiser.settings["nesterov"] else "momentum"
            for optimiser in (a, b)
        )
        report("momentum", a=of_a, b=of_b)
    _epsilon(a, b, report)
    _decay(a, b, report)


def _decay(a: Recovered, b: Recovered, report: Reporter) -> None:
    decays = [optimiser.settings.get("weight_decay", 0.0) for optimiser in (a, b)]
    forms = [
        optimiser.settings.get("decay", "") if decay else ""
        for optimiser, decay in zip((a, b), decays, strict=True)
    ]
    if _apart(decays[0], decays[1], 0.02) or forms[0] != forms[1]:
        of_a, of_b = (
            f"{decay:.3g}, {'apart from' if form == 'decoupled' else 'added to'} the gradient"
            if decay
            else "none"
            for decay, form in zip(decays, forms, strict=True)
        )
        report("weight-decay", a=of_a, b=of_b)


def _apart(a: float, b: float, share: float) -> bool:
    return abs(a - b) > share * max(abs(a), abs(b))


def _rates(a: Recovered, b: Recovered, report: Reporter) -> None:
    """The learning rate, and how it changes over the steps."""
    usable = (a.rates != 0) & (b.rates != 0)
    one, other = a.rates[usable], b.rates[usable]
    if not one.size:
        return
    first = [float(rates[0]) for rates in (one, other)]
    shapes = [rates / rates[0] for rates in (one, other)]
    changed = [float(np.abs(shape - 1).max()) > 3e-3 for shape in shapes]
    if np.abs(shapes[0] - shapes[1]).max() > 3e-3 and any(changed):
        of_a, of_b = (
            f"from {rates[0]:.4g} to {rates[-1]:.4g} in {STEPS} steps"
            if c
            else f"{rates[0]:.4g} throughout"
            for rates, c in zip((one, other), changed, strict=True)
        )
        report("schedule", a=of_a, b=of_b)
    if _apart(first[0], first[1], 3e-3):
        report("learning-rate", a=f"{first[0]:.4g}", b=f"{first[1]:.4g}")


def _epsilon(a: Recovered, b: Recovered, report: Reporter) -> None:
    if "epsilon" not in a.settings:
        return
    where = []
    for optimiser in (a, b):
        settings = optimiser.settings
        if optimiser.family == "adam":
            text = "before" if settings["hat"] else "after"
            where.append(f"added to the root {text} its bias is corrected")
        else:
            where.append("added inside the root" if settings["inside"] else "added to the root")
    values = [optimiser.settings["epsilon"] for optimiser in (a, b)]
    if where[0] != where[1] or _apart(values[0], values[1], 0.05):
        of_a, of_b = (f"{value:.3g}, {place}" for value, place in zip(values, where, strict=True))
        effect = (
            "matters where gradients are about as small: a gradient of "
            f"{max(values):.0e} makes steps of different sizes"
        )
        report("epsilon", a=of_a, b=of_b, effect=effect)


def _described(each: Recovered) -> str:
    settings = {
        name: f"{value:.4g}" if isinstance(value, float) else str(value)
        for name, value in each.settings.items()
        if name in ("momentum", "beta_1", "beta_2", "rho", "epsilon")
    }
    inside = ", ".join(f"{name} {value}" for name, value in settings.items())
    rate = next((r for r in each.rates if r), 0.0)
    return f"{each.family} at {rate:.4g}" + (f" ({inside})" if inside else "")


def _large(
    pair: Pair,
    probe: Probe,
    places: dict[str, np.ndarray],
    recovered: dict[Which, Recovered],
    report: Reporter,
) -> None:
    """Compares how both sides cut gradients that are far too large."""
    grown = Probe(
        probe.weights,
        [{n: (g * LARGE).astype(np.float32) for n, g in s.items()} for s in probe.gradients[:3]],
        probe.places,
    )
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
    """How a side cuts large gradients, in words, by trying what its first steps would be."""
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
            ("value", "each number to {:g}"), ("norm", "each parameter's norm to {:g}"),
            ("global", "the norm of all to {:g}"),
        ):  # fmt: skip
            cut = Probe(
                grown.weights, [_clipped(s, form, threshold) for s in grown.gradients], grown.places
            )
            if _explains(known, _observed(cut, places, path)):
                return words.format(threshold)
    return "in a way of its own"


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
    """Whether a recovered optimiser, at its own rates, predicts the steps within a hundredth."""
    moved = np.diff(observed.weights, axis=0)
    steps = predicted(known, observed)
    near = (
        np.abs(steps - moved) <= 0.01 * np.abs(moved) + 1e-6 * np.abs(observed.weights[:-1]) + 1e-9
    )
    return bool(np.mean(near) > 0.97)


def _constraints(pair: Pair, names: list[str], report: Reporter) -> set[str]:
    """Reports parameters that are pulled in after a step if they are large, on one side only; those
    that either side pulls in are returned."""
    pulled_in: set[str] = set()
    chance = np.random.default_rng(4)
    own = pair.sides["a"].own
    weights = {n: chance.normal(0, 10, own[n].shape).astype(np.float32) for n in names}
    zeros = {n: np.zeros_like(v) for n, v in weights.items()}
    probe = Probe(weights, [zeros], {})
    paths = _paths(pair, probe)
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
                    f"left as they are ({role})"
                    if share > 0.95
                    else f"pulled in to at most {np.abs(after[which][name]).max():.4g} ({role})"
                    for share, which in zip(shrunk, SIDES, strict=True)
                )
                largest = np.abs(weights[name]).max()
                effect = f"weights of {largest:.3g} after a step on no gradient"
                report("weight-constraint", at=match, a=of_a, b=of_b, effect=effect)
    return pulled_in
