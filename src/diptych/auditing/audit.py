"""Compares two builds: goes through the stages, and gathers what they find.

Each side runs in its own process behind an adapter (`diptych.auditing.frameworks`). The stages
(`diptych.auditing.stages`) go through them in the order in which a mistake would show. A difference
counts only if rounding does not explain it.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from diptych.auditing.frameworks.ours.arithmetic import in_one_arithmetic
from diptych.auditing.pair import Pair
from diptych.auditing.report import STAGES, Audit, Stage
from diptych.auditing.side import LIMIT, Side, Unable
from diptych.auditing.spec import parse
from diptych.auditing.stages import (
    batches,
    forward,
    gradients,
    initial,
    input,
    loss,
    mode,
    numerics,
    predictions,
    randomness,
    schedule,
    settings,
    structure,
    trajectory,
    update,
)
from diptych.auditing.twins import Twins
from diptych.errors import InputError

LAYERS: dict[str, Callable[[Pair], Stage]] = {
    "structure": structure.check,
    "input": input.check,
    "initial weights": initial.check,
    "forward": forward.check,
    "mode": mode.check,
    "batches": batches.check,
    "schedule": schedule.check,
    "settings": settings.check,
}
"""Stages that look at the sides as they are."""
WHOLE: dict[str, Callable[[Pair, Twins], Stage]] = {
    "predictions": predictions.check,
    "randomness": randomness.check,
    "loss": loss.check,
    "gradients": gradients.check,
    "update": update.check,
    "trajectory": trajectory.check,
    "numerics": numerics.check,
}
"""Stages that compare whole functions, on float64 twins where there are any."""
NEED_WEIGHTS = ("gradients", "trajectory")
"""Stages that compare nothing unless all weights of each side have a place in the other."""
NEED_TRAINING = (
    *("mode", "randomness", "loss", "gradients", "update", "schedule", "settings", "batches"),
    "trajectory",
)


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
        KeyboardInterrupt: Ctrl-C was pressed; the processes of both sides have ended.
    """
    specs, notes, findings = in_one_arithmetic([parse(str(text)) for text in (a, b)])
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(Side(label, spec, timeout))
            for label, spec in zip("AB", specs, strict=True)
        )
        _open(one, other)
        pair = Pair(one, other)
        pair.audit.notes.extend(notes)
        pair.audit.findings.extend(findings)
        if not any(match.a and match.b for match in pair.matches):
            raise InputError(
                f"{a} and {b}: no layer of one has a partner in the other "
                f"({len(pair.a.nodes)} and {len(pair.b.nodes)} layers); are these the right two?"
            )
        twins: list[Twins] = []
        for name in STAGES:
            progress(name)
            pair.audit.stages.append(_checked(_stage(pair, twins, name), pair.audit))
    order = list(STAGES)
    pair.audit.findings.sort(key=lambda finding: order.index(finding.stage))
    return pair.audit


def _open(a: Side, b: Side) -> None:
    """Opens both sides at once; where one cannot be, the other is not waited for."""
    with ThreadPoolExecutor(2) as pool:
        try:
            for opened in as_completed(pool.submit(side.open) for side in (a, b)):
                opened.result()
        except BaseException:  # Ctrl-C as well.
            for side in (a, b):
                side.close()
            raise


def _stage(pair: Pair, twins: list[Twins], name: str) -> Stage:
    """One stage, or why it does not apply."""
    if name in NEED_TRAINING and not all(side.trains for side in pair.sides.values()):
        return Stage(name, None, note="a side has no loss and optimiser")
    if name in NEED_WEIGHTS and not pair.whole():
        return Stage(name, None, note="not all weights of one side have a place in the other")
    try:
        if name in LAYERS:
            return LAYERS[name](pair)
        if not twins:
            twins.append(Twins(pair))
        return WHOLE[name](pair, twins[0])
    except InputError:
        raise
    except Unable as reason:
        return Stage(name, None, note=str(reason))
    except Exception as problem:
        what = f"{type(problem).__name__}: {problem}".splitlines()[0]
        return Stage(name, None, note=f"a fault of this program: {what}", fault=True)


def _checked(stage: Stage, audit: Audit) -> Stage:
    """The stage, with no tick where it compared nothing or a finding is its."""
    for earlier in (*audit.stages, stage):
        if any(finding.stage == earlier.name for finding in audit.findings):
            earlier.ok = False
    if stage.ok and not stage.coverage.probes:
        stage.ok, stage.note = None, stage.note or "there was nothing to compare"
    return stage
