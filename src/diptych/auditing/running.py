"""The audit: opens two sides and runs the stages.

Each side runs in its own process behind an adapter (`diptych.auditing.frameworks`). The stages
(`diptych.auditing.stages`) run in the order in which a mistake would show. A difference counts only
if rounding does not explain it.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from diptych.auditing import harm, layouts, spec
from diptych.auditing.choices import Choices
from diptych.auditing.examples import Examples, prepared
from diptych.auditing.findings import Reporter
from diptych.auditing.frameworks.ours.arithmetic import in_one_arithmetic
from diptych.auditing.graph import Graph
from diptych.auditing.identifying import identified
from diptych.auditing.objects import named
from diptych.auditing.pair import SIDES, Pair
from diptych.auditing.report import STAGES, Audit, Finding, Stage
from diptych.auditing.settling import settled
from diptych.auditing.side import FAULT, LIMIT, Failed, Fault, Side, Unable, at_once
from diptych.auditing.spec import Spec
from diptych.auditing.stages import (
    augmentation,
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
from diptych.auditing.weights import stirred
from diptych.auditing.whole import set_aside, settle, without_followers, without_unused
from diptych.errors import InputError

T = TypeVar("T")
NO_TRAINING = "a side has no loss and no optimiser"
NOT_WHOLE = "some weights of one side have no counterpart on the other"
NEED_TRAINING = (
    *("mode", "randomness", "loss", "gradients", "update", "schedule", "settings", "batches"),
    *("augmentation", "trajectory"),
)
MADE_UP = ("randomness", "schedule", "batches", "augmentation", "numerics")
"""Stages that use examples which the user's code may not be made for."""
NEED_ALL_WEIGHTS = ("predictions", "randomness", "gradients", "trajectory")


def audit(
    a: Any,
    b: Any = None,
    timeout: float = LIMIT,
    progress: Callable[[str], None] = lambda stage: None,
    compiled: bool = False,
    accept: Iterable[str] = (),
    only: Iterable[str] = (),
    commands: tuple[str, str] = ("", ""),
) -> Audit:
    """Compares two sides, and names where they differ and why.

    Args:
        a: the first side: ``WORKFLOW:NETWORK``, a run's folder, a ``.keras`` or ``.onnx`` file, or
            ``FILE.py:FUNCTION``; a function without arguments, or what it returns: a compiled Keras
            model, ``(module, loss, optimizer)``. Objects are copied, and stay as they are.
        b: the second side; not given with ``compiled``.
        timeout: seconds that a side may take for one answer.
        progress: called with each stage's name before it begins.
        compiled: audit ``a``, a ``FILE.py:FUNCTION``, against itself, compiled by its framework.
        accept: causes (`diptych.auditing.causes.CAUSES`) whose findings are listed apart and do not
            count.
        only: the stages (`diptych.auditing.report.STAGES`) to run; all of them if not given.
        commands: for each side, what starts a Python somewhere else, such as ``ssh host python``;
            the side is then ``FILE.py:FUNCTION`` there. It needs NumPy and the side's framework.

    Raises:
        InputError: a side cannot be audited: it is not there, fails, hangs, or is nothing of the
            kind; or the two cannot be matched at all.
        KeyboardInterrupt: Ctrl-C was pressed; the processes of both sides have ended.
    """
    choices = Choices.of(accept, only)
    sides = _named(a, b, compiled, commands)
    specs, notes, findings = in_one_arithmetic([spec for spec, _ in sides])
    with contextlib.ExitStack() as stack:
        one, other = (
            stack.enter_context(Side(label, named, timeout, worker))
            for label, named, (_, worker) in zip("AB", specs, sides, strict=True)
        )
        return audited(one, other, choices, progress, notes, findings)


def audited(
    one: Side,
    other: Side,
    choices: Choices,
    progress: Callable[[str], None],
    notes: Iterable[str] = (),
    findings: Iterable[Finding] = (),
) -> Audit:
    """Opens two sides and runs the stages.

    Args:
        one: side A, not opened yet.
        other: side B.
        choices: what is accepted, and which stages are run.
        progress: called with each stage's name before it begins.
        notes: what is known before.
        findings: the differences that are known before.
    """
    _open(one, other)
    frameworks = (one.framework, other.framework)
    result = Audit(one.spec.given, other.spec.given, frameworks, only=choices.only)
    result.optimisers = tuple(str(s.optimiser.get("kind", "")) for s in (one, other))
    result.notes.extend(notes)
    result.findings.extend(findings)
    layers = _run_stages({"a": one, "b": other}, result, choices, progress)
    settle(result, layers)
    without_followers(result)
    without_unused(result)
    order = list(STAGES)
    result.findings.sort(key=lambda f: (harm.ORDER.index(f.harm), order.index(f.stage)))
    for stage in result.stages:
        if any(finding.stage == stage.name for finding in result.findings):
            stage.ok = False
    choices.apply(result)
    return result


def _named(
    a: Any, b: Any, compiled: bool, commands: tuple[str, str]
) -> list[tuple[Spec, Callable[[], Any] | None]]:
    """Both sides' specifications, and the workers of those that are not processes."""
    if compiled == (b is not None):
        expected = "no second side with --compiled" if compiled else "two sides, or --compiled"
        raise InputError(f"{a}: expected {expected}")
    first, worker = named(a, commands[0])
    if compiled:
        return [(first, worker), (spec.compiled(first), worker)]
    return [(first, worker), named(b, commands[1])]


def _open(a: Side, b: Side) -> None:
    """Opens both sides at once; if one cannot be opened, the other is not waited for."""
    with ThreadPoolExecutor(2) as pool:
        try:
            for opened in as_completed([pool.submit(side.open) for side in (a, b)]):
                opened.result()
        except BaseException:  # Ctrl-C as well.
            for side in (a, b):
                side.close()
            raise


class _Runner:
    """Runs the stages in turn. If one cannot be run, this is noted and the others run."""

    def __init__(
        self, pair: Pair, result: Audit, choices: Choices, progress: Callable[[str], None]
    ) -> None:
        self.pair, self.result, self.choices, self.progress = pair, result, choices, progress
        self.trains = all(side.trains for side in pair.sides.values())

    def run(self, name: str, check: Callable[..., T], *arguments: Any) -> T | None:
        """Runs one stage, whose result is or contains a `Stage`; None if it was not run."""
        if not self.choices.wants(name):
            return None
        self.progress(name)
        if name in NEED_TRAINING and not self.trains:
            return self._leave_out(name, NO_TRAINING)
        if name in NEED_ALL_WEIGHTS and not self.pair.whole:
            return self._leave_out(name, NOT_WHOLE)
        try:
            outcome = check(*arguments, Reporter(self.result, name, self.choices.accept))
        except Failed as problem:
            if name not in MADE_UP:
                raise
            return self._leave_out(name, f"{problem}, with examples made by the audit")
        except InputError:
            raise
        except Unable as reason:
            return self._leave_out(name, str(reason), fault=isinstance(reason, Fault))
        except Exception as problem:
            return self._leave_out(name, _fault(problem), fault=True)
        stage: Stage = outcome if isinstance(outcome, Stage) else outcome.stage  # pyright: ignore
        stage.fault = any(FAULT in line for line in stage.coverage.left_out)
        if stage.ok and not stage.coverage.probes:
            stage.ok, stage.note = None, stage.note or "nothing could be compared"
        if stage.ok and name == "forward" and not self.pair.whole and self.choices.only:
            stage.ok, stage.note = None, NOT_WHOLE  # Of all stages, structure would say so.
        self.result.stages.append(stage)
        return outcome

    def _leave_out(self, name: str, reason: str, fault: bool = False) -> None:
        self.result.stages.append(Stage(name, None, note=reason, fault=fault))


def _fault(problem: Exception) -> str:
    """An error in the audit itself in one line, with the place in its code."""
    what = f"{type(problem).__name__}: {problem}".splitlines()[0]
    place = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{FAULT}: {what} ({Path(place.filename).name}:{place.lineno})"


def _identified(sides: dict[str, Side], examples: Examples, result: Audit) -> dict[str, Graph]:
    """Both graphs, with black boxes that behave like known layers replaced by those."""
    graphs = {}
    for which, side in sides.items():
        try:
            graphs[which] = identified(side, examples.x[which])
        except InputError:
            raise
        except Exception as problem:  # It stays the black box that it is.
            reason = str(problem) if isinstance(problem, Unable) else _fault(problem)
            result.notes.append(f"the unknown layers of {side.label} were not identified: {reason}")
            graphs[which] = side.graph
    return graphs


REHEARSED = 8
"""The number of steps that a side's training must run on its own examples."""


def _rehearse(sides: dict[str, Side], examples: Examples) -> None:
    """Lets each side train for a few steps on its own examples before anything else.

    Raises:
        Failed: the user's code fails; it is theirs, for nothing in it is the audit's choice.
    """

    def train(which: str) -> None:
        size = max(1, len(examples.x[which]) // 4)
        batch = examples.x[which][:size], examples.y[which][:size]
        with contextlib.suppress(Unable):  # The stage trajectory says why.
            sides[which].steps([batch], REHEARSED, {})

    at_once(sides, train)


def _as_taken(pair: Pair, examples: Examples, result: Audit) -> Examples:
    """The examples, transposed where a side has reshaped them."""
    try:
        return layouts.as_taken(pair, examples)
    except Exception as problem:
        if isinstance(problem, InputError) and not isinstance(problem, Failed):
            raise
        reason = str(problem) if isinstance(problem, Unable | Failed) else _fault(problem)
        result.notes.append(f"inputs were not tried in other orders of their axes: {reason}")
        return examples


def _settled(pair: Pair, examples: Examples, result: Audit) -> Pair:
    """The pair with parameters and layers in an order in which the outputs agree."""
    try:
        return settled(pair, examples.x)
    except InputError:
        raise
    except Exception as problem:
        reason = str(problem) if isinstance(problem, Unable) else _fault(problem)
        result.notes.append(f"parameters of the same shape were matched in order: {reason}")
        return pair


def _run_stages(
    sides: dict[str, Side], result: Audit, choices: Choices, progress: Callable[[str], None]
) -> list[Finding]:
    """Runs the stages for two opened sides; each stage gets the results of earlier ones. Returns
    the findings about single layers that were set aside, for `settle`."""
    examples = prepared(sides)
    if examples.random:
        result.notes.append("the network does not take MNIST images; inputs are random")
    pair = Pair.of(sides, _identified(sides, examples, result))
    examples = _as_taken(pair, examples, result)
    pair = _settled(pair, examples, result)
    if not any(match.a and match.b for match in pair.matches):
        raise InputError(
            f"{result.a} and {result.b}: no layer of one has a counterpart in the other "
            f"({len(pair.a.nodes)} and {len(pair.b.nodes)} layers); are these the right two sides?"
        )
    runner = _Runner(pair, result, choices, progress)
    run = runner.run
    run("structure", structure.check, pair, examples)
    run("input", input.check, pair, examples)
    run("initial weights", initial.check, pair)
    outputs = run("forward", forward.check, pair, examples)
    weights, unit = (outputs.weights, outputs.unit) if outputs else (_common(pair), 1.0)
    twins = Twins(pair, examples, weights, unit)
    result.no_twins.extend(twins.missing)
    run("predictions", predictions.check, twins)
    if runner.trains:
        _rehearse(sides, examples)
    in_training = run("mode", mode.check, pair, examples, weights, unit)
    if in_training:
        twins.pair = in_training.pair
    run("randomness", randomness.check, twins)
    layers = set_aside(result)
    losses = run("loss", loss.check, twins)
    formulas = losses.formulas if losses else dict.fromkeys(SIDES)
    decay = losses.decay if losses else {which: {} for which in SIDES}
    asked = not losses or losses.asked
    run("gradients", gradients.check, twins, formulas, decay, asked)
    run("update", update.check, twins, decay)
    run("schedule", schedule.check, pair)
    run("settings", settings.check, pair)
    run("batches", batches.check, pair, examples)
    run("augmentation", augmentation.check, pair, examples)
    run("trajectory", trajectory.check, twins)
    run("numerics", numerics.check, twins)
    return layers


def _common(pair: Pair) -> dict[str, Any]:
    """The same weights for both sides, from the stage forward."""
    common = stirred(pair)
    weights = {
        "a": pair.sides["a"].own | common,
        "b": pair.sides["b"].own | pair.transfer.to_b(common),
    }
    pair.load(weights)
    return weights
