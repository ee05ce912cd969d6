"""The jobs of a side's process: it opens the side, and answers questions about it.

Each job is called as `diptych.worker` describes, with plain data and arrays. If a request has
``"twin": true``, the side's float64 twin answers, which is built on first use. The answer
``{"unable": reason}`` means that this side cannot answer such a question.

This module needs only NumPy and the side's framework.
"""

import contextlib
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from diptych.auditing import gradients, opening
from diptych.auditing.frameworks.protocol import FollowedPartly
from diptych.auditing.frameworks.users import (
    error_line,
    is_ours,
    is_raised_here,
    is_users,
    one_line,
    silenced,
)
from diptych.auditing.messages import PREDICTIONS, joined, parted
from diptych.auditing.spec import Spec
from diptych.auditing.step_sequence import Report, Steps
from diptych.errors import InputError
from diptych.worker import Job

Arrays = dict[str, np.ndarray]
Request = dict[str, Any]
Answer = tuple[dict[str, Any], Arrays]
OPTIONAL = ("drawn_gradients", "later_outputs")
"""Methods that an adapter may lack, of which the audit must know before it asks the other side."""
LONGEST = 400
"""The number of characters of a message that are shown."""


class Opened:
    """The side that this process has opened."""

    def __init__(self, build: Callable[[int], Any] | None) -> None:
        """Stores the function that builds the side, if this process has it."""
        self.build = build
        self.adapter: Any = None
        self.twin: Any = None


opened = Opened(None)
"""The side that the jobs work on."""


@contextlib.contextmanager
def users_code(opens: bool = False) -> Iterator[None]:
    """Around calls into code that may be the user's: what it prints goes nowhere.

    An exception of this program's own passes as it is: it is no fault of the user's.

    Args:
        opens: whether the side is being opened. What a library raises then, on what the user's
            function returned, is told as theirs, without a line.

    Raises:
        InputError: the user's code raised something; says what, and in which line of their file.
    """
    try:
        with silenced():
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as problem:
        if isinstance(problem, MemoryError):
            raise InputError("it needs more memory than is available") from None
        ours = is_raised_here(problem) if opens else is_ours(problem)
        if ours and not isinstance(problem, SyntaxError):
            raise
        raise InputError(f"{_line(problem)}{_told(problem)[:LONGEST]}") from problem


def _told(problem: BaseException) -> str:
    """An error in one line; complete if it is an ordinary one."""
    if str(problem).startswith(("in user code:", "Exception encountered when calling")):
        return one_line(problem)
    # The last line of it: a SyntaxError's has the code above.
    return " ".join(traceback.format_exception_only(problem)[-1].split())


def _line(problem: BaseException) -> str:
    """A prefix ``file.py line 12: `` for the innermost line of the user's code, if the error was
    raised there."""
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{Path(problem.filename).name} line {problem.lineno}: "
    line = error_line(problem)
    return f"{line.replace(':', ' line ')}: " if line else ""


def answers(job: Callable[..., Answer]) -> Job:
    """Turns a function of an adapter, the request and the arrays into a job; it may also take a
    callback for progress."""
    signs = "report" in inspect.signature(job).parameters

    @wraps(job)
    def run(request: Request, arrays: Arrays, report: Report, *_: object) -> Answer:
        with users_code():
            try:
                more = {"report": report} if signs else {}
                return job(_asked(request), request, arrays, **more)
            except NotImplementedError as problem:
                if not is_raised_here(problem):
                    raise  # The user's code raised it, or a library.
                return {"unable": str(problem) or "its framework's adapter cannot do this"}, {}

    return run


def _asked(request: Request) -> Any:
    """The adapter that answers the request."""
    if not request.get("twin"):
        return opened.adapter
    if opened.twin is None:
        opened.twin = _method(opened.adapter, "twin")()
    return opened.twin


def _method(adapter: Any, name: str) -> Callable[..., Any]:
    method = getattr(adapter, name, None)
    if method is None:
        raise NotImplementedError(f"not available for {adapter.framework}")
    return method


def open_job(request: Request, *_: object) -> Answer:
    """Opens the side that a `Spec` names, and describes it."""
    opened.twin = None
    with users_code(opens=True):
        if opened.build:
            adapter = opening.adapter_from(opened.build)
        else:
            adapter = opening.adapter_of(Spec(**request))
        opened.adapter = adapter
        parameters = adapter.parameters()
        opening.check_size(sum(value.nbytes for value in parameters.values()))
        facts = {
            "framework": adapter.framework,
            "trains": adapter.trains,
            "prepares": adapter.prepares,
            "targets": adapter.targets,
            "graph": adapter.graph().to_dict(),
            "optimiser": adapter.optimiser() if adapter.trains else {},
            "data": getattr(adapter, "data_told", {}),
            "whole": getattr(adapter, "whole", []),
            "packed_inputs": getattr(adapter, "packed_inputs", []),
            "packed_targets": getattr(adapter, "packed_targets", []),
            "loss": getattr(adapter, "loss_words", "") if adapter.trains else "",
            "lacks": [name for name in OPTIONAL if not hasattr(adapter, name)],
        }
    return facts, parameters


@answers
def twin_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """Builds the twin with the current parameters of the side."""
    adapter.load(
        {
            name: value.astype(np.float64) if value.dtype.kind == "f" else value
            for name, value in opened.adapter.parameters().items()
        }
    )
    names = {name: str(value.dtype) for name, value in adapter.parameters().items()}
    return {"dtypes": names, "framework": adapter.framework}, {}


@answers
def load_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    adapter.load(arrays)
    return {}, {}


@answers
def record_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    return {}, adapter.record(arrays["x"], request["training"])


@answers
def run_node_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    inputs = [arrays[str(i)] for i in range(request["count"])]
    return {}, {"y": adapter.run_node(request["name"], inputs, request["training"])}


@answers
def prepare_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    x, y = adapter.prepare(arrays["images"], arrays["labels"])
    return {}, {"x": x, "y": y}


@answers
def outputs_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    y = _method(adapter, "outputs")(arrays["x"], request["training"], request["runs"])
    return {}, {"y": y}


@answers
def loss_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    return {"loss": float(adapter.loss(arrays["outputs"], arrays["targets"]))}, {}


@answers
def losses_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """The loss of each of several batches of outputs, ``outputs`` (batches, n, …)."""
    pairs = zip(arrays["outputs"], arrays["targets"], strict=True)
    return {"losses": [float(adapter.loss(outputs, targets)) for outputs, targets in pairs]}, {}


@answers
def gradients_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    _seed(adapter, request["draw"])
    loss, found = adapter.loss_and_gradients(arrays["x"], arrays["targets"])
    return {"loss": float(loss)}, found


@answers
def drawn_gradients_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    draw_anew = getattr(adapter, "draw_anew", None)
    (draw_anew or partial(_seed, adapter))(request["draw"])
    loss, drawn = _method(adapter, "drawn_gradients")(arrays["x"], arrays["targets"])
    return {"loss": float(loss)}, drawn


@answers
def updates_job(adapter: Any, request: Request, arrays: Arrays, report: Report) -> Answer:
    """Steps with gradients that `diptych.auditing.gradients` describes."""
    plan = gradients.Plan.from_message(request, arrays)
    _seed(adapter, request["draw"])
    return {}, plan.run(adapter, partial(Steps, report=report))


@answers
def updates_on_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """Steps with gradients that are passed as full arrays."""
    return {}, joined(list(adapter.updates(parted(arrays, request["steps"]))))


@answers
def steps_job(adapter: Any, request: Request, arrays: Arrays, report: Report) -> Answer:
    """Training steps on the batches in a cycle. Returns the losses, and the watched values before
    the first step and after each."""
    return steps_of(adapter, request, arrays, report)


def steps_of(
    adapter: Any,
    request: Request,
    arrays: Arrays,
    report: Report,
    steps: Callable[..., Any] | None = None,
) -> Answer:
    """As `steps_job`, by another function than the adapter's ``steps`` if one is given."""
    places = {name[2:]: arrays.pop(name) for name in list(arrays) if name.startswith("n|")}
    batches = [(part["x"], part["y"]) for part in parted(arrays, request["batches"])]
    count = request["steps"]
    repeated = Steps(count, lambda step: batches[step % len(batches)], report)
    keep = gradients.watching(places)
    before = keep(adapter.parameters())
    _seed(adapter, 0)
    losses, after = (steps or adapter.steps)(repeated, keep)
    return {"losses": [float(loss) for loss in losses]}, gradients.path_of([before, *after])


@answers
def path_job(adapter: Any, request: Request, arrays: Arrays, report: Report) -> Answer:
    """As `steps_job`, and the predictions for ``x`` afterwards, if the side can give them."""
    x = arrays.pop("x")
    if not hasattr(adapter, "steps_then_predict"):
        return steps_of(adapter, request, arrays, report)
    predictions: list[np.ndarray] = []

    def steps(batches: Any, keep: Any) -> Any:
        losses, after, outputs = adapter.steps_then_predict(batches, keep, x, request["averages"])
        predictions.append(outputs)
        return losses, after

    facts, watched = steps_of(adapter, request, arrays, report, steps)
    return facts | {"silenced": bool(getattr(adapter, "silenced", False))}, {
        **watched,
        PREDICTIONS: predictions[0],
    }


@answers
def later_outputs_job(adapter: Any, request: Request, arrays: Arrays, report: Report) -> Answer:
    """The outputs in training steps after others on the batches in a cycle."""
    x, targets = arrays.pop("x"), arrays.pop("targets")
    batches = [(part["x"], part["y"]) for part in parted(arrays, request["batches"])]
    repeated = Steps(request["steps"], lambda step: batches[step % len(batches)], report)
    seeds = Steps(request["runs"], lambda run: request["first"] + run, report)
    _seed(adapter, 0)
    return {}, {"y": _method(adapter, "later_outputs")(repeated, x, targets, seeds)}


def _seed(adapter: Any, number: int) -> None:
    """Resets the random numbers of the side's code, if its adapter supports that."""
    if hasattr(adapter, "seed"):
        adapter.seed(number)


@answers
def own_code_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """Tells if code of the user's runs in a training step on the batch, and in an optimiser's step.

    If none does, only the framework's own counters can tell one step from another. Code that was
    made a graph of is not seen to run; an adapter whose graphs may have some says so.
    """
    in_graphs = getattr(adapter, "own_code", lambda: {})()
    batch = arrays["x"], arrays["y"]
    zeros = {name: np.zeros_like(value) for name, value in adapter.parameters().items()}
    return {
        "steps": in_graphs.get("steps") or _runs_users_code(adapter.steps, batch),
        "updates": in_graphs.get("updates")
        or _runs_users_code(lambda steps: list(adapter.updates(steps)), zeros),
    }, {}


def _runs_users_code(run: Callable[[Sequence[Any]], Any], item: Any) -> bool:
    """True if a function of the user is called in the second of two steps. Before the first step,
    the user's function builds the side."""
    seen = False

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen
        if is_users(frame.f_code.co_filename):
            seen = True
            sys.settrace(None)

    def asked(step: int) -> Any:
        if step == 1:
            sys.settrace(watch)
        return item

    try:
        run(Steps(2, asked, lambda _: None))
    finally:
        sys.settrace(None)
    return seen


@answers
def initial_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    if getattr(opened.build, "fixed", False):
        raise NotImplementedError("it is an object and cannot be built again; pass a function")
    return {}, joined(adapter.initial(request["draws"]))


@answers
def batches_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """The batches of examples that are their own number, or of the passed examples."""
    if "x" in arrays:
        epochs = _method(adapter, "batches_of")(arrays["x"], arrays["y"], request["epochs"])
    else:
        epochs = adapter.batches(request["count"], request["epochs"])
    if epochs is None:
        return {"sizes": None}, {}
    parts = [{"x": np.asarray(x), "y": np.asarray(y)} for epoch in epochs for x, y in epoch]
    return {"sizes": [len(epoch) for epoch in epochs]}, joined(parts)


@answers
def plan_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """The length of the side's training, its learning rates, and its other settings."""
    facts: dict[str, Any] = {}
    for name in ("horizon", "settings"):
        try:
            facts[name] = _method(adapter, name)()
        except NotImplementedError as problem:
            facts[name] = {"unable": str(problem)}
    return facts, {}


@answers
def rates_job(adapter: Any, request: Request, arrays: Arrays) -> Answer:
    """The learning rates at every step where any of them changes, (changes, 1 + groups): the step,
    then the rates; ``steps`` and ``reason`` if they were followed for fewer steps than asked."""
    partly: dict[str, Any] = {}
    try:
        changes = _method(adapter, "rates")(request["steps"])
    except FollowedPartly as problem:
        changes, partly = problem.changes, {"steps": problem.steps, "reason": str(problem)}
    width = max((len(rates) for _, rates in changes), default=0)
    table = np.full((len(changes), 1 + width), math.nan)
    for row, (step, rates) in zip(table, changes, strict=True):
        row[0], row[1 : 1 + len(rates)] = step, rates
    return partly, {"rates": table}
