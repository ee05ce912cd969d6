"""Learning rates that differ, told from steps of which one side's are a multiple of the other's.

That holds for every optimiser that multiplies its whole step by the rate, known or not. Keras'
momentum has the rate inside, and is told by `diptych.auditing.naming.optimisers`.
"""

from collections.abc import Iterable

import numpy as np

from diptych.auditing.findings import Reporter
from diptych.auditing.naming.paths import Difference

CLOSE = 1e-3
"""The share of a step that may be no multiple of the other side's."""
SAME = 1e-6
"""The relative difference of two factors that counts as none."""


def factors(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The factor of each of B's steps; None if B's steps are no multiples of A's.

    Args:
        a: the steps of A, (steps, numbers).
        b: those of B.

    Returns:
        (steps,); NaN where neither side moves.
    """
    with np.errstate(all="ignore"):
        of_steps = np.sum(a * b, axis=1) / np.sum(a * a, axis=1)
        away = np.linalg.norm(b - of_steps[:, None] * a, axis=1)
    sizes = np.linalg.norm(b, axis=1)
    moves = (np.linalg.norm(a, axis=1) > 0) | (sizes > 0)
    multiples = np.isfinite(of_steps) & (of_steps > 0) & (away <= CLOSE * sizes)
    return np.where(moves, of_steps, np.nan) if np.all(multiples | ~moves) else None


def explain(differences: Iterable[Difference], report: Reporter) -> bool:
    """Reports a schedule, or another learning rate, if that explains all differences of steps with
    the same gradients."""
    found: list[np.ndarray] = []
    for paths in {id(each.paths): each.paths for each in differences}.values():
        names = [name for name in paths["a"] if name in paths["b"]]
        a, b = (
            np.concatenate([np.diff(paths[which][n], axis=0) for n in names], axis=1)
            for which in ("a", "b")
        )
        of_steps = factors(a.astype(np.float64), b.astype(np.float64))
        if of_steps is None:
            return False
        found.append(of_steps[np.isfinite(of_steps)])
    longest = max(found, key=len, default=np.zeros(0))
    if not longest.size:
        return False
    if np.ptp(longest) > SAME * longest[0]:
        words = f"from {longest[0]:.4g} to {longest[-1]:.4g} times it in {len(longest)} steps"
        report("schedule", a="its learning rate", b=words)
    else:
        report("learning-rate", a="its learning rate", b=f"{longest[0]:.4g} times it")
    return True


def explain_step(a: np.ndarray, b: np.ndarray, step: int, report: Reporter) -> bool:
    """Reports a schedule if that explains the first step of training in which both sides differ.

    Args:
        a: A's step, (numbers,).
        b: B's.
        step: its number.
        report: takes the finding.
    """
    factor = factors(a[None], b[None])
    if step < 2 or factor is None or not abs(factor[0] - 1) > CLOSE:
        return False
    words = f"the same up to step {step - 1:,}, and {factor[0]:.4g} times it in step {step:,}"
    report("schedule", a="its learning rate", b=words, stage="update")
    return True
