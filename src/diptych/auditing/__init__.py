"""Proves that two builds are the same network and training, or names where they differ and why.

Each side runs in its own process behind an adapter (`frameworks`). Both are held against a float64
reference that needs no framework (`reference`). The stages (`stages`) go through them in the order
in which a mistake would show. A difference counts only if rounding does not explain it.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from diptych.auditing.pair import Pair
from diptych.auditing.report import STAGES, Audit, Finding, Stage
from diptych.auditing.side import LIMIT, Side, parse
from diptych.auditing.stages import (
    batches,
    forward,
    gradients,
    initial,
    input,
    loss,
    mode,
    structure,
    trajectory,
    update,
)
from diptych.errors import InputError

__all__ = ["Audit", "Finding", "Stage", "audit"]

CHECKS: dict[str, Callable[[Pair], Stage]] = {
    "structure": structure.check,
    "input": input.check,
    "initial weights": initial.check,
    "forward": forward.check,
    "mode": mode.check,
    "loss": loss.check,
    "gradients": gradients.check,
    "update": update.check,
    "batches": batches.check,
    "trajectory": trajectory.check,
}
NEED_WHOLE = ("gradients", "trajectory")
"""Stages that compare nothing unless all weights of each side fit into the other."""
NEED_TRAINING = ("mode", "loss", "gradients", "update", "batches", "trajectory")


def audit(
    a: str | Path,
    b: str | Path,
    timeout: float = LIMIT,
    progress: Callable[[str], None] = lambda stage: None,
) -> Audit:
    """Audits two sides against each other.

    Args:
        a: the first side: ``WORKFLOW:NETWORK``, a run's folder, a ``.keras`` or ``.onnx`` file, or
            ``FILE.py:FUNCTION``.
        b: the second side.
        timeout: seconds that a side may take for one answer.
        progress: called with each stage's name before it begins.

    Raises:
        InputError: a side cannot be audited: it is not there, fails, hangs, or is nothing of the
            kind; or the two cannot be matched at all.
    """
    specs = [parse(str(each)) for each in (a, b)]
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(Side(label, spec, timeout))
            for label, spec in zip("AB", specs, strict=True)
        )
        _open(one, other)
        pair = Pair(one, other)
        if not any(match.a and match.b for match in pair.matches):
            raise InputError(
                f"{a} and {b}: no layer of one has a partner in the other "
                f"({len(pair.a.nodes)} and {len(pair.b.nodes)} layers); are these the right two?"
            )
        for name in STAGES:
            progress(name)
            pair.audit.stages.append(_stage(pair, name))
    order = list(STAGES)
    pair.audit.findings.sort(key=lambda finding: order.index(finding.stage))
    for stage in pair.audit.stages:
        if any(finding.stage == stage.name for finding in pair.audit.findings):
            stage.ok = False
    return pair.audit


def _open(a: Side, b: Side) -> None:
    """Opens both sides at once; where one cannot be, the other is not waited for."""
    with ThreadPoolExecutor(2) as pool:
        try:
            for done in as_completed(pool.submit(side.open) for side in (a, b)):
                done.result()
        except BaseException:  # Ctrl-C as well.
            for side in (a, b):
                side.worker.close()
            raise


def _stage(pair: Pair, name: str) -> Stage:
    """One stage, or why it does not apply."""
    if name in NEED_TRAINING and not all(side.trains for side in pair.sides.values()):
        return Stage(name, None, note="a side has no loss and optimiser")
    if name in NEED_WHOLE and not pair.whole():
        return Stage(name, None, note="not all weights of one side have a place in the other")
    return CHECKS[name](pair)
