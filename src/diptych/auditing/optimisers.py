"""Optimisers told from their behaviour: simulated in float64, and fitted to observed steps.

Observed are the steps w₁ - w₀, w₂ - w₁, … that a side made on gradients of our choice. A family of
optimisers with its settings predicts them up to the learning rate of each step, which follows by
least squares; the settings are those under which the rest is rounding.

Sources: Adam (Kingma & Ba, 2015), decoupled weight decay (Loshchilov & Hutter, 2019), RMSprop
(Tieleman & Hinton, 2012), Adagrad (Duchi et al., 2011), Nesterov's momentum (Sutskever et al.,
2013), AMSGrad (Reddi et al., 2018), Nadam (Dozat, 2016), Adamax (Kingma & Ba, 2015), Adadelta
(Zeiler, 2012), Lion (Chen et al., 2023).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

Settings = dict[str, Any]

FREE = {
    "sgd": ("momentum",),
    "adam": ("beta_1", "beta_2", "epsilon"),
    "rmsprop": ("rho", "momentum", "epsilon"),
    "adagrad": ("accumulator", "epsilon"),
    "nadam": ("beta_1", "beta_2", "epsilon"),
    "adamax": ("beta_1", "beta_2", "epsilon"),
    "adadelta": ("rho", "epsilon"),
    "lion": ("beta_1", "beta_2"),
}
"""The settings of each family besides the learning rate."""
STARTS: dict[str, dict[str, tuple[float, ...]]] = {
    "sgd": {"momentum": (0.5,)},
    "rmsprop": {"rho": (0.9,), "momentum": (0.0, 0.8), "epsilon": (1e-7, 1e-5)},
    "adam": {"beta_1": (0.9,), "beta_2": (0.999, 0.95), "epsilon": (1e-7, 1e-5)},
    "adagrad": {"accumulator": (0.1,), "epsilon": (1e-7,)},
    "nadam": {"beta_1": (0.9,), "beta_2": (0.999,), "epsilon": (1e-7,)},
    "adamax": {"beta_1": (0.9,), "beta_2": (0.999,), "epsilon": (1e-7,)},
    "adadelta": {"rho": (0.95,), "epsilon": (1e-7,)},
    "lion": {"beta_1": (0.9,), "beta_2": (0.99,)},
}
"""The starting points of a search for an optimiser that reports nothing.

RMSprop comes before Adam, which is the same without beta_1 and with chosen rates.
"""
EXTRA = ("amsgrad", "centered", "dampening")
"""Variants of a family, tried if the optimiser reports them."""
NAMED = ("nadam", "adamax", "adadelta", "lion")
"""Families that are tried only if the optimiser reports them."""
FORMS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "nadam": ("momentum_decay", (1.0, 0.004)),  # Keras' and PyTorch's.
    "adamax": ("within", (False, True)),
    "adadelta": ("inside", (True,)),
    "lion": ("signed", (True,)),
}
"""The setting of those families that differs between frameworks, and its values."""
LOGARITHMIC = ("epsilon", "accumulator", "weight_decay")
SEARCHED = 100
"""The number of values that a search uses; its result is then checked with all of them."""
COARSENESS = (1e5, 1e4, 1e3, 1e2, 1e1, 1.0)
HOPELESS = 0.5
EXPLAINED = 6.0
"""The difference, in units of rounding, within which a prediction explains a step."""


@dataclass(frozen=True)
class Observed:
    """The path of some values over the steps of an optimiser."""

    gradients: np.ndarray
    """(steps, n), float64."""
    weights: np.ndarray
    """(steps + 1, n), before the first step and after each."""

    @property
    def noise(self) -> np.ndarray:
        """The effect that rounding may have on each step, (steps, n)."""
        moved = np.abs(np.diff(self.weights, axis=0))
        return 1e-7 * np.abs(self.weights[:-1]) + 3e-5 * moved + 1e-13

    def in_blocks(self) -> "Observed":
        """The path of an optimiser that moves at each second, third, … step alone, with the mean
        gradient of the steps up to there: it accumulates gradients. Others are unchanged."""
        moves = np.flatnonzero(np.any(np.diff(self.weights, axis=0) != 0, axis=1))
        every = int(moves[0]) + 1 if len(moves) else 1
        steps = len(self.gradients)
        if every < 2 or steps < 2 * every or np.any(moves != np.arange(every - 1, steps, every)):
            return self
        count = steps // every
        blocks = self.gradients[: count * every].reshape(count, every, -1)
        return Observed(blocks.mean(axis=1), self.weights[: count * every + 1 : every])

    def thinned(self, count: int) -> "Observed":
        """A random subset of the values, of at most this size."""
        chosen = np.random.default_rng(0).permutation(self.gradients.shape[1])[:count]
        return Observed(self.gradients[:, chosen], self.weights[:, chosen])


@dataclass
class Recovered:
    """An optimiser recovered from its steps."""

    family: str
    settings: Settings
    rates: np.ndarray
    """The learning rate of each step, (steps,)."""
    residual: float
    """The largest unexplained part of a step, in units of rounding."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def explained(self) -> bool:
        return self.residual <= EXPLAINED


def directions(family: str, settings: Settings, observed: Observed) -> np.ndarray:
    """The steps for a learning rate of 1, float64 (steps, n), along the observed weights."""
    gradients = observed.gradients
    if settings.get("accumulate"):
        gradients = np.cumsum(gradients, axis=0)
    steps = np.zeros_like(gradients)
    first, second, third = (np.zeros(gradients.shape[1]) for _ in range(3))
    product_of_momenta = 1.0
    if family == "adagrad":
        second += settings["accumulator"]
    decay = settings.get("weight_decay", 0.0)
    for t, gradient in enumerate(gradients, start=1):
        weights = observed.weights[t - 1]
        if decay and settings["decay"] == "coupled":
            gradient = gradient + decay * weights
        match family:
            case "sgd":
                momentum = settings["momentum"]
                share = 1.0 if t == 1 else 1 - settings.get("dampening", 0.0)
                first = momentum * first + share * gradient
                step = gradient + momentum * first if settings["nesterov"] else first
            case "adam":
                first = settings["beta_1"] * first + (1 - settings["beta_1"]) * gradient
                second = settings["beta_2"] * second + (1 - settings["beta_2"]) * gradient**2
                bias_1, bias_2 = (1 - settings[f"beta_{i}"] ** t for i in (1, 2))
                epsilon = settings["epsilon"]
                third = np.maximum(third, second) if settings.get("amsgrad") else second
                if settings["hat"]:
                    step = np.sqrt(bias_2) / bias_1 * first / (np.sqrt(third) + epsilon)
                else:
                    step = first / bias_1 / (np.sqrt(third / bias_2) + epsilon)
            case "nadam":
                beta_1, beta_2, decay_of = (
                    settings[name] for name in ("beta_1", "beta_2", "momentum_decay")
                )
                now, after = (beta_1 * (1 - 0.5 * 0.96 ** (k * decay_of)) for k in (t, t + 1))
                product_of_momenta *= now
                first = beta_1 * first + (1 - beta_1) * gradient
                second = beta_2 * second + (1 - beta_2) * gradient**2
                ahead = after * first / (1 - product_of_momenta * after)
                ahead = ahead + (1 - now) * gradient / (1 - product_of_momenta)
                step = ahead / (np.sqrt(second / (1 - beta_2**t)) + settings["epsilon"])
            case "adamax":
                beta_1, epsilon = settings["beta_1"], settings["epsilon"]
                first = beta_1 * first + (1 - beta_1) * gradient
                size = np.abs(gradient) + (epsilon if settings["within"] else 0.0)
                second = np.maximum(settings["beta_2"] * second, size)
                root = second + (0.0 if settings["within"] else epsilon)
                step = first / (1 - beta_1**t) / np.where(root > 0, root, 1.0)
            case "adadelta":
                rho, epsilon = settings["rho"], settings["epsilon"]
                second = rho * second + (1 - rho) * gradient**2
                step = np.sqrt(first + epsilon) / np.sqrt(second + epsilon) * gradient
                first = rho * first + (1 - rho) * step**2
            case "lion":
                beta_1, beta_2 = settings["beta_1"], settings["beta_2"]
                step = np.sign(beta_1 * first + (1 - beta_1) * gradient)
                first = beta_2 * first + (1 - beta_2) * gradient
            case "rmsprop":
                second = settings["rho"] * second + (1 - settings["rho"]) * gradient**2
                epsilon, spread = settings["epsilon"], second
                if settings.get("centered"):
                    third = settings["rho"] * third + (1 - settings["rho"]) * gradient
                    spread = np.maximum(second - third**2, 0.0)
                root = (
                    np.sqrt(spread + epsilon) if settings["inside"] else np.sqrt(spread) + epsilon
                )
                first = settings["momentum"] * first + gradient / root
                step = first
            case _:
                second = second + gradient**2
                epsilon = settings["epsilon"]
                root = (
                    np.sqrt(second + epsilon) if settings["inside"] else np.sqrt(second) + epsilon
                )
                step = gradient / root
        if decay and settings["decay"] == "decoupled":
            step = step + decay * weights
        steps[t - 1] = step
    return steps


def rest(family: str, settings: Settings, observed: Observed) -> tuple[np.ndarray, np.ndarray]:
    """The part of the steps that the family with these settings does not explain, in units of
    rounding, (steps, n); and the learning rate of each step (steps,)."""
    moved = np.diff(observed.weights, axis=0)
    weight = 1 / observed.noise
    if settings.get("holds_steps"):
        return _rest_of_held(settings, observed.gradients, moved, weight)
    along = directions(family, settings, observed)
    rates = _rates(along, moved, weight)
    return (moved + rates[:, None] * along) * weight, rates


def _rates(along: np.ndarray, moved: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The learning rates with which the directions explain the steps best, (steps,)."""
    top = np.sum(along * weight * moved * weight, axis=-1)
    bottom = np.sum((along * weight) ** 2, axis=-1)
    return -np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


def _rest_of_held(
    settings: Settings, gradients: np.ndarray, moved: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `rest`, for momentum that holds steps and not gradients: a learning rate of an earlier
    step stays in it. Nesterov's form takes a step of it ahead."""
    momentum, ahead = settings["momentum"], settings.get("nesterov")
    held, rates, left = np.zeros(gradients.shape[1]), [], []
    for gradient, step, share in zip(gradients, moved, weight, strict=True):
        along = gradient * (1 + momentum) if ahead else gradient
        own = step - (momentum**2 if ahead else momentum) * held
        rate = _rates(along, own, share)
        held = momentum * held - rate * gradient
        rates.append(rate)
        left.append((own + rate * along) * share)
    return np.array(left), np.array(rates)


def predicted(known: Recovered, observed: Observed) -> np.ndarray:
    """The steps of a recovered optimiser for other gradients, at its rates, (steps, n)."""
    rates = known.rates[: len(observed.gradients), None]
    if not known.settings.get("holds_steps"):
        return -rates * directions(known.family, known.settings, observed)
    momentum, held = known.settings["momentum"], np.zeros(observed.gradients.shape[1])
    steps = -rates * observed.gradients
    for t in range(len(steps)):
        held = momentum * held + steps[t]
        steps[t] = momentum * held + steps[t] if known.settings.get("nesterov") else held
    return steps


def _result(family: str, settings: Settings, observed: Observed) -> Recovered:
    left, rates = rest(family, settings, observed)
    # A handful of numbers may fall where float32 loses more than the estimate says.
    residual = float(np.quantile(np.abs(left), 0.98)) if left.size else 0.0
    return Recovered(family, settings, rates, residual)


def fit(family: str, start: Settings, observed: Observed) -> Recovered:
    """The settings of a family that explain the observed steps best, searched from a start."""
    names = [name for name in FREE[family] if name in start]
    if start.get("weight_decay"):
        names.append("weight_decay")

    def settings_of(values: np.ndarray) -> Settings:
        found = dict(start)
        for name, value in zip(names, values, strict=True):
            if name in LOGARITHMIC:
                found[name] = float(10 ** np.clip(value, -12, 1))
            else:  # Shares: most of what matters lies close to 1.
                found[name] = float(1 - 10 ** np.clip(value, -6, 0))
        return found

    def to_value(name: str) -> float:
        if name in LOGARITHMIC:
            return float(np.log10(max(start[name], 1e-12)))
        return float(np.log10(np.clip(1 - start[name], 1e-6, 1)))

    def error(values: np.ndarray, coarseness: float) -> np.ndarray:
        left, _ = rest(family, settings_of(values), observed)
        return np.arcsinh(left / coarseness).ravel()  # Far-off numbers must not drown the others.

    if not names:
        return _result(family, start, observed)
    from scipy.optimize import least_squares  # Its import takes longer than most audits need it.

    whole, observed = observed, observed.thinned(SEARCHED)
    values = np.array([to_value(name) for name in names])
    for coarseness in COARSENESS:  # From the large features down to the last digits.
        values = least_squares(error, values, args=(coarseness,), diff_step=1e-4, max_nfev=25).x
        if coarseness == COARSENESS[1] and np.median(np.abs(error(values, coarseness))) > HOPELESS:
            break
    return _result(family, settings_of(values), whole)


def starts(said: Settings) -> Iterator[tuple[str, Settings]]:
    """Families and settings to start from; first what the optimiser reports."""
    kind = {"adamw": "adam"}.get(said.get("kind", ""), said.get("kind", ""))
    known_here = [family for family in STARTS if family == kind or family not in NAMED]
    families = sorted(known_here, key=lambda family: family != kind)
    for family in families:
        own = said if family == kind else {}
        flag, forms = FORMS.get(family) or {
            "sgd": ("nesterov", _both(bool(own.get("nesterov")))),
            "adam": ("hat", _both(not own.get("bias_corrected_epsilon", False))),
        }.get(family, ("inside", _both(True)))
        own_forms: Settings = {name: own[name] for name in EXTRA if own.get(name)}
        known = {name: own[name] for name in FREE[family] if own.get(name) is not None}
        every = product(*STARTS[family].values())
        bases = [dict(zip(STARTS[family], values, strict=True)) for values in every]
        for base in dict.fromkeys(tuple((b | known).items()) for b in bases):
            for form in forms:
                yield family, dict(base) | own_forms | {flag: form}
            if family == "sgd":
                # Keras' momentum is of steps, not of gradients: it matters where rates change.
                for form in forms:
                    yield family, dict(base) | {flag: form, "holds_steps": True}


def _both(first: bool) -> tuple[bool, bool]:
    return first, not first


def recover(observed: Observed, said: Settings, search: bool = True) -> Recovered:
    """The optimiser that explains the observed steps; the best one found if none does.

    Args:
        observed: gradients and weights.
        said: what the optimiser says of itself, as an adapter's ``optimiser`` gives it.
        search: whether other settings are looked for than it says and than families begin with.
    """
    decay = said.get("weight_decay") or 0.01
    forms = ["decoupled", "coupled"]
    if said.get("weight_decay") and said.get("kind") != "adamw":
        forms.reverse()
    decays: list[Settings] = [{}, *({"weight_decay": decay, "decay": form} for form in forms)]
    if said.get("weight_decay"):
        decays = decays[1:] + decays[:1]
    best: Recovered | None = None
    # First as it says, then the search: a fit takes a hundred times as long.
    for attempt in (_result, fit) if search else (_result,):
        for accumulate in ({}, {"accumulate": True}):
            # Simple families first, with decay or not: an Adam with a huge epsilon is like SGD.
            for family, start in starts(said):
                for shape in decays:
                    found = attempt(family, start | shape | accumulate, observed)
                    if found.explained:
                        return found
                    if best is None or found.residual < best.residual:
                        best = found
    assert best
    return best
