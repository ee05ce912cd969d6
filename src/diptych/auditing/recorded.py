"""A side's answers from a file; see `diptych.auditing.recording`."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from diptych import __version__
from diptych.auditing import jobs
from diptych.auditing.messages import joined, parted
from diptych.errors import InputError
from diptych.transport import Arrays, unpack
from diptych.worker import Job, address

SCHEMA = 2
INDEX = "index.json"
Answer = tuple[dict[str, Any], str, list[str]]
"""Plain data, the name of the file's member with the arrays, and the order of the arrays, which the
format of that member does not keep. The watched values are drawn in this order."""
UNASKED = "it was not asked this when it was recorded"


class State:
    """The hash of the loaded parameters, as a part of each question."""

    def __init__(self) -> None:
        self._loaded: dict[bool, dict[str, str]] = {False: {}, True: {}}

    def question(self, job: Job, request: dict[str, Any], arrays: Arrays) -> str:
        """The name of a question, equal for equal questions in equal states."""
        twin = bool(request.get("twin"))
        if job is jobs.twin_job:
            self._loaded[True] = dict(self._loaded[False])
        if job is jobs.load_job:
            self._loaded[twin] |= {name: _digest(value) for name, value in arrays.items()}
        sent = {name: _digest(value) for name, value in arrays.items()}
        text = json.dumps([address(job), request, sent, self._loaded[twin]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _digest(value: np.ndarray) -> str:
    text = f"{value.dtype.str}{value.shape}".encode()
    return hashlib.sha256(text + np.ascontiguousarray(value).tobytes()).hexdigest()[:32]


OF_INITIAL_WEIGHTS = State().question(jobs.initial_job, {}, {})
"""The name of the question for initial weights, stored once for any number of builds."""


class Recorded:
    """Answers from a file, as the worker of the side gave them."""

    def __init__(self, file: Path) -> None:
        """Reads a recording.

        Raises:
            InputError: it is no recording, or another version's.
        """
        self._state = State()
        self._asked: dict[str, int] = {}
        try:
            self._archive = zipfile.ZipFile(file)
            index = json.loads(self._archive.read(INDEX))
            version, schema = index["version"], index["schema"]
            self._answers: dict[str, list[Answer]] = index["answers"]
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as problem:
            raise InputError(f"{file}: not a recording of `diptych record` ({problem})") from None
        if (version, schema) != (__version__, SCHEMA):
            raise InputError(
                f"{file}: recorded by diptych {version}, and this is {__version__}: record it again"
            )

    def call(
        self, job: Job, parameters: dict[str, Any], arrays: Arrays | None = None, **more: Any
    ) -> tuple[dict[str, Any], Arrays]:
        """The answer to this question in this state; ``unable`` if there is none."""
        request = {} if job is jobs.open_job else parameters
        if job is jobs.initial_job:
            return self._initial(request["draws"])
        question = self._state.question(job, request, arrays or {})
        if job is jobs.load_job:
            return {}, {}
        return self._answer(question)

    def _answer(self, question: str) -> tuple[dict[str, Any], Arrays]:
        answers = self._answers.get(question)
        if not answers:
            return {"unable": UNASKED}, {}
        number = self._asked[question] = self._asked.get(question, -1) + 1
        if number >= len(answers):  # An answer that never varied may be given again.
            if any(answer != answers[0] for answer in answers):
                return {"unable": UNASKED}, {}
            number = 0
        return self._read(*answers[number])

    def _read(
        self, value: dict[str, Any], name: str, order: list[str]
    ) -> tuple[dict[str, Any], Arrays]:
        if "input error" in value:
            raise InputError(value["input error"])
        arrays = unpack(self._archive.read(name)) if name else {}
        return value, {key: arrays[key] for key in order}

    def _initial(self, draws: int) -> tuple[dict[str, Any], Arrays]:
        """The first recorded builds."""
        (answer,) = self._answers[OF_INITIAL_WEIGHTS]
        value, arrays = self._read(*answer)
        if "unable" in value:
            return value, {}
        parts = parted(arrays, 1 + max(int(key.split("|", 1)[0]) for key in arrays))
        if draws > len(parts):
            return {"unable": f"initial weights of {len(parts)} builds were recorded"}, {}
        return value, joined(parts[:draws])

    def close(self) -> None:
        """Closes the file."""
        self._archive.close()
