"""Names for optimisers that differ: each is recovered from its steps in float32.

Both get the same gradients from the same weights. Where their steps differ, the settings in which
the two differ are named.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.auditing.graph import Arrays
from diptych.auditing.optimisers import Observed, Recovered, predicted, recover
from diptych.auditing.pair import SIDES, Pair, Which
from diptych.auditing.probes import steps as probes
from diptych.auditing.report import Stage
from diptych.auditing.side import Unable
from diptych.auditing.stages.loss import trained
from diptych.randomness import generator

NAME = "update"
STEPS = 10
ELEMENTS = probes.ELEMENTS
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


def explain(pair: Pair) -> None:
    """Reports the settings in which the two optimisers differ."""
    stage = Stage(NAME)
    names = [n for n in trained(pair.sides["a"]) if n in pair.transfer.names]
    probe = _probe(pair.sides["a"].own, names)
    paths = _paths(pair, probe)
    if paths is None:
        return
    still = _frozen(pair, probe, paths) | _constraints(pair, names)
    moving = {name: places for name, places in probe.places.items() if name not in still}
    observed = {which: _observed(probe, moving, paths[which]) for which in SIDES}
    same = _same(stage, observed["a"], observed["b"])
    found = {"a": recover(observed["a"], pair.sides["a"].optimiser)}
    found["b"] = found["a"] if same else recover(observed["b"], pair.sides["b"].optimiser)
    if not same:
        _compare(pair, found["a"], found["b"])
    if moving and found["a"].explained and found["b"].explained:
        _large(pair, probe, moving, found)
    for which in SIDES:
        pair.sides[which].load(pair.parameters[which])


def _probe(own: Arrays, names: list[str]) -> Probe:
    """Gradients of all sizes for some numbers of every parameter, zero for the others."""
    chance = generator(0, "audit/gradients")
    weights, places = {}, {}
    steps: list[Arrays] = [{} for _ in range(STEPS)]
    for name in names:
        value = own[name]
        count = min(ELEMENTS, value.size)
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
    """A side's weights after each step, by A's names; None where it takes no gradients."""
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


def _frozen(pair: Pair, probe: Probe, paths: dict[Which, Any]) -> set[str]:
    """Parameters that a side's steps do not move; reported where the other side's do."""
    still: set[str] = set()
    already = {f.layer for f in pair.audit.findings if f.code == "frozen-parameter"}
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
        place = pair.place(match)
        if gone and place not in already:
            moves = next(iter(gone.values()))
            said = ["is trained", "is not trained: no step moves it"]
            a, b = said if moves[0] else said[::-1]
            pair.found(
                "gradients", "frozen-parameter", place, a, b, f"parameters {', '.join(gone)}"
            )
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


def _compare(pair: Pair, a: Recovered, b: Recovered) -> None:
    """Names every setting in which two recovered optimisers differ."""
    for which, one in (("A", a), ("B", b)):
        if not one.explained:
            said = ["its steps", "other steps"]
            pair.found(
                NAME, "optimiser", None, *said,
                f"{which}'s steps are of no optimiser known here (nearest: {one.family})",
            )  # fmt: skip
            return
    said = [_described(each) for each in (a, b)]
    if a.family != b.family:
        pair.found(NAME, "optimiser", None, *said)
        return
    piled = [bool(each.settings.get("accumulate")) for each in (a, b)]
    if piled[0] != piled[1]:
        words = ["added to those of the steps before" if p else "cleared each step" for p in piled]
        pair.found("gradients", "gradients-not-cleared", None, *words, "from the second step on")
    _rates(pair, a, b)
    for name, code in (
        ("momentum", "momentum"), ("beta_1", "beta-1"), ("beta_2", "beta-2"), ("rho", "beta-2")
    ):  # fmt: skip
        if name in a.settings and _apart(1 - a.settings[name], 1 - b.settings[name], 0.01):
            pair.found(NAME, code, None, *(f"{name} {e.settings[name]:.4g}" for e in (a, b)))
    if a.settings.get("nesterov", False) != b.settings.get("nesterov", False):
        words = ["Nesterov's momentum" if e.settings["nesterov"] else "momentum" for e in (a, b)]
        pair.found(NAME, "momentum", None, *words)
    _epsilon(pair, a, b)
    decays = [each.settings.get("weight_decay", 0.0) for each in (a, b)]
    forms = [
        each.settings.get("decay", "") if d else "" for each, d in zip((a, b), decays, strict=True)
    ]
    if _apart(decays[0], decays[1], 0.02) or forms[0] != forms[1]:
        words = [
            f"{decay:.3g}, {'apart from' if form == 'decoupled' else 'added to'} the gradient"
            if decay else "none"
            for decay, form in zip(decays, forms, strict=True)
        ]  # fmt: skip
        pair.found(NAME, "weight-decay", None, *words)


def _apart(a: float, b: float, share: float) -> bool:
    return abs(a - b) > share * max(abs(a), abs(b))


def _rates(pair: Pair, a: Recovered, b: Recovered) -> None:
    """The learning rate, and how it changes over the steps."""
    usable = (a.rates != 0) & (b.rates != 0)
    one, other = a.rates[usable], b.rates[usable]
    if not one.size:
        return
    first = [float(rates[0]) for rates in (one, other)]
    shapes = [rates / rates[0] for rates in (one, other)]
    changed = [float(np.abs(shape - 1).max()) > 3e-3 for shape in shapes]
    if np.abs(shapes[0] - shapes[1]).max() > 3e-3 and any(changed):
        words = [
            f"from {rates[0]:.4g} to {rates[-1]:.4g} in {STEPS} steps"
            if c
            else f"{rates[0]:.4g} throughout"
            for rates, c in zip((one, other), changed, strict=True)
        ]  # fmt: skip
        pair.found(NAME, "schedule", None, *words)
    if _apart(first[0], first[1], 3e-3):
        pair.found(NAME, "learning-rate", None, *(f"{rate:.4g}" for rate in first))


def _epsilon(pair: Pair, a: Recovered, b: Recovered) -> None:
    if "epsilon" not in a.settings:
        return
    where = []
    for each in (a, b):
        settings = each.settings
        if each.family == "adam":
            text = "before" if settings["hat"] else "after"
            where.append(f"added to the root {text} its bias is corrected")
        else:
            where.append("added inside the root" if settings["inside"] else "added to the root")
    values = [each.settings["epsilon"] for each in (a, b)]
    if where[0] != where[1] or _apart(values[0], values[1], 0.05):
        said = [f"{value:.3g}, {place}" for value, place in zip(values, where, strict=True)]
        pair.found(
            NAME, "epsilon", None, *said,
            "matters where gradients are about as small: "
            f"a gradient of {max(values):.0e} makes steps of different sizes",
        )  # fmt: skip


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
    pair: Pair, probe: Probe, places: dict[str, np.ndarray], found: dict[Which, Recovered]
) -> None:
    """Whether gradients that are far too large are cut, and alike on both sides."""
    grown = Probe(
        probe.weights,
        [{n: (g * LARGE).astype(np.float32) for n, g in s.items()} for s in probe.gradients[:3]],
        probe.places,
    )
    paths = _paths(pair, grown)
    if paths is None:
        return
    cuts = {
        which: _cut(found[which], pair.sides[which].optimiser, grown, places, paths[which])
        for which in SIDES
    }
    if cuts["a"] != cuts["b"]:
        pair.found(NAME, "gradient-clipping", None, cuts["a"], cuts["b"])


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


def _constraints(pair: Pair, names: list[str]) -> set[str]:
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
                said = [
                    f"left as they are ({role})" if s > 0.95
                    else f"pulled in to at most {np.abs(after[w][name]).max():.4g} ({role})"
                    for s, w in zip(shrunk, SIDES, strict=True)
                ]  # fmt: skip
                pair.found(
                    NAME, "weight-constraint", pair.place(match), *said,
                    f"weights of {np.abs(weights[name]).max():.3g} after a step on no gradient",
                )  # fmt: skip
    return pulled_in
