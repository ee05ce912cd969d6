"""The audit: opens two sides and takes them through the stages."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from diptych.auditing.examples import prepared
from diptych.auditing.findings import Reporter
from diptych.auditing.identifying import identified
from diptych.auditing.pair import SIDES, Pair
from diptych.auditing.report import STAGES, Audit, Stage
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

NO_TRAINING = "a side has no loss and optimiser"
NOT_WHOLE = "not all weights of one side have a place in the other"


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
    specs = [parse(str(given)) for given in (a, b)]
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(Side(label, spec, timeout))
            for label, spec in zip("AB", specs, strict=True)
        )
        _open(one, other)
        frameworks = (one.framework, other.framework)
        result = Audit(specs[0].given, specs[1].given, frameworks)
        _run_stages({"a": one, "b": other}, result, progress)
    order = list(STAGES)
    result.findings.sort(key=lambda finding: order.index(finding.stage))
    for stage in result.stages:
        if any(finding.stage == stage.name for finding in result.findings):
            stage.ok = False
    return result


def _open(a: Side, b: Side) -> None:
    """Opens both sides at once; if one cannot be opened, the other is not waited for."""
    with ThreadPoolExecutor(2) as pool:
        try:
            for done in as_completed(pool.submit(side.open) for side in (a, b)):
                done.result()
        except BaseException:  # Ctrl-C as well.
            for side in (a, b):
                side.worker.close()
            raise


def _run_stages(sides: dict[str, Side], result: Audit, progress: Callable[[str], None]) -> None:
    """Takes two opened sides through the stages; each stage gets what earlier ones learned."""
    examples = prepared(sides)
    if examples.random:
        result.notes.append("the network does not take MNIST's images; inputs are random")
    pair = Pair.of(sides, {which: identified(sides[which], examples.x[which]) for which in SIDES})
    if not any(match.a and match.b for match in pair.matches):
        raise InputError(
            f"{result.a} and {result.b}: no layer of one has a partner in the other "
            f"({len(pair.a.nodes)} and {len(pair.b.nodes)} layers); are these the right two?"
        )
    trains = all(side.trains for side in sides.values())

    def reporter(stage: str) -> Reporter:
        progress(stage)
        return Reporter(result, stage)

    def left_out(stage: str, reason: str) -> None:
        progress(stage)
        result.stages.append(Stage(stage, None, note=reason))

    add = result.stages.append
    add(structure.check(pair, examples, reporter("structure")))
    add(input.check(pair, examples, reporter("input")))
    add(initial.check(pair, reporter("initial weights")))
    outputs = forward.check(pair, examples, reporter("forward"))
    add(outputs.stage)
    if not trains:
        for stage in ("mode", "loss", "gradients", "update", "batches", "trajectory"):
            left_out(stage, NO_TRAINING)
        return
    weights, unit = outputs.weights, outputs.unit
    in_training = mode.check(pair, examples, weights, unit, reporter("mode"))
    add(in_training.stage)
    pair = in_training.pair
    losses = loss.check(pair, examples, weights, unit, reporter("loss"))
    add(losses.stage)
    if pair.whole:
        report = reporter("gradients")
        add(gradients.check(pair, examples, weights, unit, losses.formulas, report))
    else:
        left_out("gradients", NOT_WHOLE)
    add(update.check(pair, weights, reporter("update")))
    add(batches.check(pair, reporter("batches")))
    if pair.whole:
        add(trajectory.check(pair, examples, weights, unit, reporter("trajectory")))
    else:
        left_out("trajectory", NOT_WHOLE)
