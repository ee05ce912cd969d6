"""A side's answers to an audit's questions in a file, to be compared later or on another machine.

A side is audited against itself, and each question and answer is kept. A later audit asks a
recorded side the same questions, as far as the other side is the same network. A question that was
not asked then has no answer, and what it was for is not compared.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diptych import __version__
from diptych.auditing import jobs
from diptych.auditing.choices import Choices
from diptych.auditing.naming import optimisers
from diptych.auditing.objects import named
from diptych.auditing.recorded import INDEX, OF_INITIAL_WEIGHTS, SCHEMA, State
from diptych.auditing.report import Audit
from diptych.auditing.running import audited
from diptych.auditing.side import LIMIT, Side
from diptych.auditing.spec import RECORDED
from diptych.errors import InputError
from diptych.transport import Arrays, pack
from diptych.worker import Job

DRAWS = 48
"""The number of fresh builds whose initial weights are stored."""
BYTES = 2**26
"""The maximum number of bytes of initial weights."""


class Recorder:
    """A side's worker whose answers are stored; see `diptych.worker.Worker`."""

    def __init__(self, worker: Any) -> None:
        self.worker, self._state = worker, State()
        self.answers: dict[str, list[tuple[dict[str, Any], Arrays]]] = {}

    def call(self, job: Job, parameters: dict[str, Any], arrays: Arrays | None = None, **more: Any):
        """Calls the worker and stores the answer."""
        request = {} if job is jobs.open_job else parameters
        question = self._state.question(job, request, arrays or {})
        try:
            answer = self.worker.call(job, parameters, arrays, **more)
        except InputError as problem:
            self.answers.setdefault(question, []).append(({"input error": str(problem)}, {}))
            raise
        self.answers.setdefault(question, []).append(answer)
        return answer

    def close(self) -> None:
        """Ends the worker."""
        self.worker.close()

    def write(self, file: Path, given: str) -> None:
        """Writes the answers; equal answers are written once.

        Raises:
            InputError: it cannot be written there.
        """
        index: dict[str, Any] = {"schema": SCHEMA, "version": __version__, "side": given}
        index["answers"] = {}
        written: set[str] = set()
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for question, answers in self.answers.items():
                    index["answers"][question] = []
                    for value, arrays in answers:
                        body = b"".join(pack(arrays)) if arrays else b""
                        name = hashlib.sha256(body).hexdigest() if body else ""
                        if body and name not in written:
                            written.add(name)
                            archive.writestr(name, body)
                        index["answers"][question].append([value, name, list(arrays)])
                archive.writestr(INDEX, json.dumps(index))
        except OSError as problem:
            raise InputError(f"{file}: {problem.strerror or problem}") from None


def record(
    side: Any,
    file: str | Path,
    timeout: float = LIMIT,
    progress: Callable[[str], None] = lambda stage: None,
) -> Audit:
    """Records a side's answers to the questions of an audit.

    Args:
        side: as `diptych.audit` takes it.
        file: where to write; it must end in ``.diptych``.
        timeout: seconds that the side may take for one answer.
        progress: called with each stage's name before it begins.

    Returns:
        The audit of the side against itself.

    Raises:
        InputError: the side cannot be audited, or the file cannot be written.
    """
    file = Path(file)
    if file.suffix != RECORDED:
        raise InputError(f"{file}: expected a file that ends in {RECORDED}")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent} to write it in")
    spec, worker = named(side)
    with Side("A", spec, timeout, worker) as one, Side("B", spec, timeout, worker) as other:
        recorder = one.worker = Recorder(one.worker)
        result = audited(one, other, Choices(), progress)
        _keep_initial(one, recorder)
        optimisers.ask(one)
        recorder.write(file, spec.given)
    return result


def _keep_initial(side: Side, recorder: Recorder) -> None:
    """Asks for initial weights, since a later audit needs a different number of builds."""
    size = sum(value.nbytes for value in side.own.values())
    draws = max(2, min(DRAWS, BYTES // max(1, size)))
    call = recorder.worker.call
    answer = call(jobs.initial_job, {"draws": draws}, limit=side.limit, stops=False)
    recorder.answers[OF_INITIAL_WEIGHTS] = [answer]
