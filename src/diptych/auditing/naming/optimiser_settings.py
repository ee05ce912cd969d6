"""The differing settings of two optimisers that were recovered from their steps."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diptych.auditing.optimisers import Recovered
from diptych.auditing.pair import SIDES, Which

Report = Callable[..., None]
"""A function that takes a finding: a `diptych.auditing.findings.Reporter`, or one for a single
layer."""


def compare(recovered: dict[Which, Recovered], said: dict[Which, Any], report: Report) -> None:
    """Names every differing setting of two recovered optimisers."""
    a, b = recovered["a"], recovered["b"]
    if not (a.explained and b.explained):
        _compare_words(recovered, said, report)
        return
    if a.family != b.family:
        report("optimiser", a=_described(a), b=_described(b))
        return
    for name, words, code in VARIANTS:
        values = [optimiser.settings.get(name) or 0 for optimiser in (a, b)]
        if values[0] != values[1]:
            of_a, of_b = (words.format(value) if value else "without it" for value in values)
            report(code, a=of_a, b=of_b)
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
            "Nesterov's momentum" if optimiser.settings.get("nesterov") else "momentum"
            for optimiser in (a, b)
        )
        report("momentum", a=of_a, b=of_b)
    _held(a, b, report)
    _epsilon(a, b, report)
    _decay(a, b, report)


def _held(a: Recovered, b: Recovered, report: Report) -> None:
    """Reports momentum that holds steps on one side and gradients on the other, which is seen where
    rates change."""
    holds = [bool(optimiser.settings.get("holds_steps")) for optimiser in (a, b)]
    if holds[0] == holds[1]:
        return
    words = [
        "adds up steps, each at its own learning rate"
        if held
        else "adds up gradients, all times the current learning rate"
        for held in holds
    ]
    effect = "the two differ while the learning rate changes"
    report("momentum", a=words[0], b=words[1], effect=effect)


VARIANTS = (
    ("amsgrad", "AMSGrad: the maximum of all second moments", "optimiser"),
    ("centered", "centred: the variance of the gradients", "optimiser"),
    ("dampening", "dampening {:g}", "momentum"),
    ("momentum_decay", "momentum that grows by 0.96 ** ({:g} * step)", "momentum"),
)
"""Settings that change the kind of optimiser, in words, and their cause."""
SAID = {
    "learning_rate": "learning-rate",
    "momentum": "momentum",
    "nesterov": "momentum",
    "beta_1": "beta-1",
    "beta_2": "beta-2",
    "rho": "beta-2",
    "epsilon": "epsilon",
    "weight_decay": "weight-decay",
}
"""The cause of a difference in each setting that optimisers report."""


def _compare_words(
    recovered: dict[Which, Recovered], said: dict[Which, Any], report: Report
) -> None:
    """Compares the settings that optimisers report, if their steps match no known optimiser."""
    unknown = [which.upper() for which in SIDES if not recovered[which].explained]
    effect = f"the steps of {' and '.join(unknown)} match no known optimiser"
    a, b = said["a"], said["b"]
    if a.get("kind") == b.get("kind") and len(unknown) == 2:
        different = [
            name for name in SAID if name in a and name in b and _say_otherwise(a[name], b[name])
        ]
        for name in different:
            of_a, of_b = (f"{name} {_short(settings[name])}" for settings in (a, b))
            report(SAID[name], a=of_a, b=of_b, effect=effect)
        if different:
            return
    words = [
        _described(recovered[which]) if recovered[which].explained else _told(said[which])
        for which in SIDES
    ]
    report("optimiser", a=words[0], b=words[1], effect=effect)


def _told(settings: dict[str, Any]) -> str:
    """The settings of an optimiser, such as ``lamb (learning_rate 0.001, beta_1 0.9)``."""
    inside = [f"{name} {_short(value)}" for name, value in settings.items() if name != "kind"]
    kind = settings.get("kind", "a custom optimiser")
    return f"{kind} ({', '.join(inside)})" if inside else str(kind)


def _say_otherwise(a: Any, b: Any) -> bool:
    """True if two settings differ by more than float32's rounding."""
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b)
    )
    return not np.isclose(a, b, rtol=1e-6, atol=0) if numbers else a != b


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _decay(a: Recovered, b: Recovered, report: Report) -> None:
    decays = [optimiser.settings.get("weight_decay", 0.0) for optimiser in (a, b)]
    forms = [
        optimiser.settings.get("decay", "") if decay else ""
        for optimiser, decay in zip((a, b), decays, strict=True)
    ]
    if _apart(decays[0], decays[1], 0.02) or forms[0] != forms[1]:
        of_a, of_b = (
            f"{decay:.3g}, {'decoupled from' if form == 'decoupled' else 'added to'} the gradient"
            if decay
            else "none"
            for decay, form in zip(decays, forms, strict=True)
        )
        report("weight-decay", a=of_a, b=of_b)


def _apart(a: float, b: float, share: float) -> bool:
    return abs(a - b) > share * max(abs(a), abs(b))


def _rates(a: Recovered, b: Recovered, report: Report) -> None:
    """The learning rate, and its changes over the steps."""
    usable = (a.rates != 0) & (b.rates != 0)
    one, other = a.rates[usable], b.rates[usable]
    if not one.size:
        return
    first = [float(rates[0]) for rates in (one, other)]
    shapes = [rates / rates[0] for rates in (one, other)]
    changed = [float(np.abs(shape - 1).max()) > 3e-3 for shape in shapes]
    if np.abs(shapes[0] - shapes[1]).max() > 3e-3 and any(changed):
        of_a, of_b = (
            f"from {rates[0]:.4g} to {rates[-1]:.4g} in {len(a.rates)} steps"
            if c
            else f"{rates[0]:.4g} throughout"
            for rates, c in zip((one, other), changed, strict=True)
        )
        report("schedule", a=of_a, b=of_b)
    if _apart(first[0], first[1], 3e-3):
        report("learning-rate", a=f"{first[0]:.4g}", b=f"{first[1]:.4g}")


def _epsilon(a: Recovered, b: Recovered, report: Report) -> None:
    if "epsilon" not in a.settings:
        return
    where = []
    for optimiser in (a, b):
        settings = optimiser.settings
        if "hat" in settings:
            text = "before" if settings["hat"] else "after"
            where.append(f"added to the root {text} bias correction")
        elif "within" in settings:
            where.append("added to the gradient" if settings["within"] else "added to the norm")
        else:
            inside = settings.get("inside")
            where.append("added inside the root" if inside else "added to the root")
    values = [optimiser.settings["epsilon"] for optimiser in (a, b)]
    if where[0] != where[1] or _apart(values[0], values[1], 0.05):
        of_a, of_b = (f"{value:.3g}, {place}" for value, place in zip(values, where, strict=True))
        effect = (
            "matters for gradients of about this size: a gradient of "
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
