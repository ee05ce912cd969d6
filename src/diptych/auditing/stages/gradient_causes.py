"""Names for gradients that differ: frozen, scaled, or not the gradient of the loss.

Each side's gradients are held against the float64 reference's, where that can express its network
and its loss, else against the other side's.
"""

import numpy as np

from diptych.auditing import reference
from diptych.auditing.graph import Arrays
from diptych.auditing.pair import PLACES, SIDES, Pair, Which
from diptych.auditing.report import Stage
from diptych.auditing.stages.loss import trained

NAME = "gradients"


def explain(pair: Pair, clean: bool = True) -> bool:
    """Reports the gradients that rounding in float32 does not explain; whether there are any.

    Args:
        pair: both sides.
        clean: whether nothing was found yet that makes one expect other gradients. Where something
            was, only what has a name of its own is reported.
    """
    before = len(pair.audit.findings)
    frozen: set[str] | None = None
    stage, wrong = Stage(NAME), []
    for number in range(PLACES):
        stage = Stage(NAME)
        with pair.elsewhere(number):
            answers = {
                which: side.loss_and_gradients(pair.x[which], pair.y[which])
                for which, side in pair.sides.items()
            }
            gradients = {which: answer[1] for which, answer in answers.items()}
            exact = {which: _exact(pair, which) for which in SIDES}
        if frozen is None:
            of_b = pair.transfer.to_a(gradients["b"])
            frozen = _frozen(pair, gradients["a"], of_b, exact["a"])
        wrong = _wrong(pair, stage, gradients, exact, frozen, clean)
        if not wrong:
            break
    for said in wrong:
        if clean or said[0] != "unexplained":
            pair.found(NAME, *said)
    return len(pair.audit.findings) > before


Said = tuple[str, str, str, str, str]
"""A code, a layer, what each side has, and the effect."""


def _wrong(
    pair: Pair,
    stage: Stage,
    gradients: dict[Which, Arrays],
    exact: dict[Which, "Exact"],
    frozen: set[str],
    clean: bool,
) -> list[Said]:
    """What is to be said of the gradients that rounding does not explain."""
    said: list[Said | None] = []
    of_b = pair.transfer.to_a(gradients["b"])
    for match in pair.matches:
        if not (match.a and match.b):
            continue
        place = pair.place(match)
        for name in match.a.parameters.values():
            if name in frozen or name not in gradients["a"] or name not in of_b:
                continue
            wrong = [
                which
                for which in SIDES
                if not _explained(pair, which, name, gradients[which], exact[which], stage)
            ]
            if clean and (len(wrong) == 2 or None in exact.values()):
                said.append(_apart(pair, place, name, gradients["a"][name], of_b[name], stage))
            elif len(wrong) == 1:
                which = wrong[0]
                said.append(_off(pair, place, name, which, gradients[which], exact[which]))
    return [each for each in said if each]


Exact = tuple[Arrays, dict[str, float]] | None


def _exact(pair: Pair, which: Which) -> Exact:
    """The float64 gradients of a side's own network and loss, with rounding's share; None where
    the reference cannot express them."""
    formula = pair.formulas[which]
    if formula is None or not pair.expressible(which):
        return None
    graph = pair.runnable(which)
    used = {name for node in graph.nodes for name in node.parameters.values()}
    penalties = formula["penalties"]
    if not set(penalties["squares"]) | set(penalties["absolutes"]) <= used:
        return None
    names = [name for name in trained(pair.sides[which]) if name in used]
    answer = reference.gradients(
        graph, formula, names, pair.parameters[which], pair.x[which], pair.y[which]
    )
    return answer.gradients, answer.bounds


def _frozen(pair: Pair, a: Arrays, b: Arrays, exact: Exact) -> set[str]:
    """Reports parameters that get a gradient on one side only, and returns their names."""
    found: set[str] = set()
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
        found.update(gone)
        if gone:
            said = ["gets a gradient", "gets none"]
            one, other = said if of_a else said[::-1]
            size = ""
            if exact and all(name in exact[0] for name in gone):
                size = f"its gradient is up to {max(np.abs(exact[0][n]).max() for n in gone):.3g}"
            pair.found(NAME, "frozen-parameter", pair.place(match), one, other, size)
    return found


def _explained(
    pair: Pair, which: Which, name: str, given: Arrays, exact: Exact, stage: Stage
) -> bool:
    """Whether rounding explains how far a gradient is from its exact value."""
    own = name if which == "a" else pair.transfer.names[name]
    if exact is None or own not in exact[0]:
        return True
    difference = float(np.abs(given[own] - exact[0][own]).max(initial=0.0))
    bound = pair.unit * exact[1][own]
    if difference <= bound:
        stage.saw(difference, bound)
    return difference <= bound


def _off(pair: Pair, place: str, name: str, which: Which, given: Arrays, exact: Exact) -> Said:
    """A gradient that is not its loss': by a factor, or in a way that nothing here explains."""
    assert exact
    own = name if which == "a" else pair.transfer.names[name]
    value, truth = given[own].astype(np.float64), exact[0][own]
    factor = float(np.sum(value * truth) / max(float(np.sum(truth**2)), 1e-300))
    rest = float(np.abs(value - factor * truth).max(initial=0.0))
    right, wrong = "the gradient of the loss", "another gradient than the loss has"
    code = "unexplained"
    if rest <= pair.unit * exact[1][own] * max(1.0, abs(factor)):
        code, wrong = "gradient-scale", f"{factor:.4g} times the gradient of the loss"
    a, b = (wrong, right) if which == "a" else (right, wrong)
    off = float(np.abs(value - truth).max(initial=0.0))
    effect = f"off by up to {off:.3g}; rounding explains up to {exact[1][own]:.1e}"
    return code, place, a, b, effect


def _apart(
    pair: Pair, place: str, name: str, a: np.ndarray, b: np.ndarray, stage: Stage
) -> Said | None:
    """Where there is no reference: the two gradients against each other, relatively."""
    size = float(np.abs(a).max(initial=1e-30))
    bound = pair.unit * 2e-4 * size
    difference = float(np.abs(a - b).max(initial=0.0))
    stage.saw(difference, bound)
    if difference <= bound:
        return None
    effect = f"they differ by up to {difference:.3g} of {size:.3g}"
    return "unexplained", place, f"gradient of {name}", "another gradient", effect
