"""Gradients that differ: frozen, scaled, or not the gradient of the loss.

Each side's gradients are compared with the float64 reference if that can express its network and
loss, else with those of the other side.
"""

from dataclasses import dataclass

import numpy as np

from diptych.auditing import reference
from diptych.auditing.examples import Examples
from diptych.auditing.findings import Reporter
from diptych.auditing.graph import Arrays
from diptych.auditing.losses import Formula
from diptych.auditing.match import Match
from diptych.auditing.pair import SIDES, Pair, Which, trained, without_final
from diptych.auditing.reference import Gradients
from diptych.auditing.report import Stage
from diptych.auditing.weights import PLACES, Weights, nearby

NAME = "gradients"


@dataclass(frozen=True)
class _Wrong:
    """A gradient that rounding does not explain."""

    code: str
    match: Match
    a: str
    b: str
    effect: str


@dataclass(frozen=True)
class _Measured:
    """Both sides' gradients at the same weights, and the exact ones of each side's own loss."""

    pair: Pair
    unit: float
    gradients: dict[Which, Arrays]
    exact: dict[Which, Gradients | None]
    """None if the reference cannot express them."""
    stage: Stage

    def wrong(self, frozen: set[str], clean: bool) -> list[_Wrong]:
        """The gradients that rounding does not explain.

        Args:
            frozen: A's names of parameters that are left out.
            clean: whether no earlier stage found a difference, so that the two sides' gradients
                must be alike.
        """
        wrong: list[_Wrong | None] = []
        of_a, of_b = self.gradients["a"], self.pair.transfer.to_a(self.gradients["b"])
        for match in self.pair.matches:
            if not (match.a and match.b):
                continue
            for name in match.a.parameters.values():
                if name in frozen or name not in of_a or name not in of_b:
                    continue
                sides = [which for which in SIDES if not self._explained(which, name)]
                if clean and (len(sides) == 2 or None in self.exact.values()):
                    wrong.append(self._against_each_other(match, name, of_a[name], of_b[name]))
                elif len(sides) == 1:
                    wrong.append(self._against_the_exact_one(match, sides[0], name))
        return [each for each in wrong if each]

    def _own_name(self, which: Which, name: str) -> str:
        return name if which == "a" else self.pair.transfer.names[name]

    def _explained(self, which: Which, name: str) -> bool:
        """True if rounding explains the difference of a gradient from its exact value."""
        own, exact = self._own_name(which, name), self.exact[which]
        if exact is None or own not in exact.gradients:
            return True
        away = np.abs(self.gradients[which][own] - exact.gradients[own])
        difference, bound = float(away.max(initial=0.0)), self.unit * exact.bounds[own]
        if difference <= bound:
            self.stage.saw(difference, bound)
        return difference <= bound

    def _against_the_exact_one(self, match: Match, which: Which, name: str) -> _Wrong:
        """A gradient that is not that of its loss: scaled by a factor, or for an unknown reason."""
        own, exact = self._own_name(which, name), self.exact[which]
        assert exact
        value, truth = self.gradients[which][own].astype(np.float64), exact.gradients[own]
        bound = exact.bounds[own]
        factor = float(np.sum(value * truth) / max(float(np.sum(truth**2)), 1e-300))
        rest = float(np.abs(value - factor * truth).max(initial=0.0))
        right, wrong = "the gradient of the loss", "a gradient that is not that of the loss"
        code = "unexplained"
        if rest <= self.unit * bound * max(1.0, abs(factor)):
            code, wrong = "gradient-scale", f"{factor:.4g} times the gradient of the loss"
        a, b = (wrong, right) if which == "a" else (right, wrong)
        difference = float(np.abs(value - truth).max(initial=0.0))
        effect = f"off by up to {difference:.3g}; rounding explains up to {bound:.1e}"
        return _Wrong(code, match, a, b, effect)

    def _against_each_other(
        self, match: Match, name: str, a: np.ndarray, b: np.ndarray
    ) -> _Wrong | None:
        """Compares the two gradients with each other, if there is no reference."""
        size = float(np.abs(a).max(initial=1e-30))
        bound = self.unit * 2e-4 * size
        difference = float(np.abs(a - b).max(initial=0.0))
        self.stage.saw(difference, bound)
        if difference <= bound:
            return None
        effect = f"they differ by up to {difference:.3g} of {size:.3g}"
        return _Wrong("unexplained", match, f"gradient of {name}", "another gradient", effect)


def explain(
    pair: Pair,
    examples: Examples,
    weights: Weights,
    unit: float,
    formulas: dict[Which, Formula | None],
    clean: bool,
    report: Reporter,
) -> bool:
    """Reports the gradients that rounding in float32 does not explain; whether there are any.

    Args:
        pair: both sides.
        examples: what they are asked with.
        weights: what both have.
        unit: how much coarser than float32 the coarser side computes.
        formulas: of the losses, as far as they are known.
        clean: whether nothing was found yet that makes one expect other gradients. If something
            was, only what has a name of its own is reported.
        report: takes the findings.
    """
    before = len(report.audit.findings)
    frozen: set[str] | None = None
    stage, wrong = Stage(NAME), []
    for number in range(PLACES):
        stage = Stage(NAME)
        with nearby(pair, weights, number) as here:
            gradients = {
                which: side.loss_and_gradients(examples.x[which], examples.y[which])[1]
                for which, side in pair.sides.items()
            }
            exact = {
                which: _exact(pair, which, examples, here[which], formulas[which])
                for which in SIDES
            }
        if frozen is None:
            of_b = pair.transfer.to_a(gradients["b"])
            frozen = _frozen(pair, gradients["a"], of_b, exact["a"], report)
        wrong = _Measured(pair, unit, gradients, exact, stage).wrong(frozen, clean)
        if not wrong:
            break
    for gradient in wrong:
        if not clean and gradient.code == "unexplained":
            continue
        report(
            gradient.code,
            at=gradient.match,
            a=gradient.a,
            b=gradient.b,
            effect=gradient.effect,
        )
    return len(report.audit.findings) > before


def _exact(
    pair: Pair, which: Which, examples: Examples, weights: Arrays, formula: Formula | None
) -> Gradients | None:
    """The float64 gradients of a side's own network and loss; None where the reference cannot
    express them."""
    if formula is None or not pair.computable(which):
        return None
    graph = without_final(pair.graphs[which])
    used = {name for node in graph.nodes for name in node.parameters.values()}
    penalties = formula["penalties"]
    if not set(penalties["squares"]) | set(penalties["absolutes"]) <= used:
        return None
    names = [name for name in trained(pair.sides[which]) if name in used]
    return reference.gradients(graph, formula, names, weights, examples.x[which], examples.y[which])


def _frozen(
    pair: Pair, a: Arrays, b: Arrays, exact: Gradients | None, report: Reporter
) -> set[str]:
    """Reports parameters that get a gradient on one side only, and returns their names."""
    frozen: set[str] = set()
    for match in pair.matches:
        if not (match.a and match.b):
            continue
        gone: list[str] = []
        of_a = True
        for name in match.a.parameters.values():
            if name not in pair.transfer.names:
                continue
            moves = [name in of and bool(np.any(of[name])) for of in (a, b)]
            if moves[0] != moves[1]:
                gone.append(name)
                of_a = moves[0]
        frozen.update(gone)
        if gone:
            words = ["has a gradient", "gets none"]
            one, other = words if of_a else words[::-1]
            effect = ""
            if exact and all(name in exact.gradients for name in gone):
                largest = max(np.abs(exact.gradients[name]).max() for name in gone)
                effect = f"its gradient is up to {largest:.3g}"
            report("frozen-parameter", at=match, a=one, b=other, effect=effect)
    return frozen
