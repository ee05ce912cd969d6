"""Sides that cannot be audited: one line that says which, where and what to do; exit code 2."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.auditing import audit
from diptych.auditing.side import Side
from diptych.auditing.spec import parse
from diptych.errors import InputError

BAD = Path(__file__).parent / "bad"
MARK = "DIPTYCH_TEST_MARK"
SOUND = "numpy:dense"
CHEAP = f"{BAD / 'at_import.py'}:model"
"""A side that fails before any framework is imported; the first side's failure is what is told."""


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str
    errors: str


def called(a: str, b: str, *options: str) -> Outcome:
    """What `diptych audit` does, after which no process of it may be left."""
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [sys.executable, "-m", "diptych.cli", "audit", a, b, *options],
        env=os.environ | {MARK: mark},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not left(mark)
    return Outcome(done.returncode, done.stdout, done.stderr)


def left(mark: str) -> list[str]:
    """The processes that have the mark in their environment, a moment later."""
    there: list[str] = []
    for _ in range(20):
        there = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                    there.append(process.name)
            except OSError:
                continue  # Another user's, or gone.
        if not there:
            return []
        time.sleep(0.1)
    return there


def refused(outcome: Outcome, *words: str) -> None:
    """Checks that there is one line, that says these words in this order."""
    assert outcome.code == 2, outcome
    assert outcome.output == ""
    assert outcome.errors.count("\n") == 1 and outcome.errors.endswith("\n"), outcome.errors
    told = outcome.errors
    for word in words:
        assert word in told, outcome.errors
        told = told.partition(word)[2]


def bad(name: str) -> str:
    return f"{BAD / 'functions.py'}:{name}"


def line_of(file: str, text: str) -> str:
    """Where a piece of code stands, as messages say it."""
    lines = (BAD / file).read_text().splitlines()
    return f"{file} line {next(i for i, each in enumerate(lines, 1) if text in each)}: "


def test_a_file_that_raises_when_it_is_imported() -> None:
    missing = f"{BAD / 'no_import.py'}:model"
    where = line_of("no_import.py", "import package")
    refused(
        called(missing, SOUND),
        f"A ({missing}): ", where, "ModuleNotFoundError: No module named 'package_that_nobody_has'",
    )  # fmt: skip
    where = line_of("at_import.py", "int(")
    refused(called(CHEAP, SOUND), f"A ({CHEAP}): ", where, "ValueError: invalid literal for int()")


def test_a_process_that_ends() -> None:
    given = bad("ends_its_process")
    refused(called(given, SOUND), f"A ({given}): ", "exit code 3", "it must not end its process")


def test_a_function_that_hangs() -> None:
    given = bad("hangs")
    outcome = called(given, SOUND, "--timeout", "4")
    refused(outcome, f"A ({given}): ", "no answer in 4 s", "--timeout raises the limit")


def test_following_rates_may_take_longer_than_other_answers() -> None:
    limits = {}

    class Waiting:
        def call(self, job: Any, *_: Any, limit: float, **__: Any) -> Any:
            limits[job.__name__] = limit
            return {}, {"rates": np.zeros((1, 2))}

    side = Side("A", parse("numpy:article"), 7.0, Waiting)
    side.rates(10)
    side.own_code(np.zeros(1), np.zeros(1))
    assert limits == {"rates_job": 35.0, "own_code_job": 7.0}


def test_sides_that_have_nothing_in_common_and_one_prints_much() -> None:
    outcome = called(bad("prints_much"), "numpy:article")
    refused(outcome, "side A (", "takes (13,)", "(28, 28, 1)", "expected")


def test_what_is_not_there() -> None:
    for given, words in (
        ("nowhere.py:model", "no file nowhere.py"),
        (str(BAD / "at_import.py"), "which function? Expected"),
    ):
        with pytest.raises(InputError) as caught:
            audit(CHEAP, given)
        assert f"{given}: {words}" in str(caught.value)


@pytest.fixture(scope="module")
def process() -> Iterator[Side]:
    """One process in which one file after the other is opened, for imports take long."""
    with Side("A", parse(CHEAP)) as side:
        yield side


def opened(process: Side, given: str) -> str:
    """What is told of a side that cannot be opened."""
    process.spec = parse(given)
    with pytest.raises(InputError) as caught:
        process.open()
    told = str(caught.value)
    assert told.startswith(f"A ({given}): ") and "\n" not in told
    return told


def test_a_file_that_is_no_python(process: Side, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text('"""Is not Python."""\n\n\ndef model(:\n    return None\n')
    assert "broken.py line 4: SyntaxError: " in opened(process, f"{file}:model")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("raises", "raise RuntimeError", "RuntimeError: the data base is down"),
        ("exits", "sys.exit", "SystemExit: so long"),
        ("takes_arguments", "", "functions.py: takes_arguments takes arguments (missing"),
        ("gives_nothing", "", "returned None; expected a compiled Keras model"),
        ("gives_a_dict", "", "returned a dict; expected"),
        ("gives_text", "", "returned a str; expected"),
        ("gives_what_cannot_be_printed", "", "returned a Shy; expected"),
        ("absent", "", "no function absent in functions.py (there are parts, regression,"),
        ("gives_two", "", "returned a tuple of 2: return (module, loss, optimizer)"),
        ("gives_only_the_module", "", "returned a Sequential: return (module, loss, optimizer)"),
        ("gives_them_in_another_order", "", "returned are a MSELoss, a Sequential, a SGD, in this"),
        ("takes_two_inputs", "", "forward takes 2 inputs (left, right): give examples of them"),
        ("huge", "", "its parameters take 1,024 MiB"),
    ],
)
def test_a_function_that_gives_no_side(process: Side, name: str, code: str, words: str) -> None:
    where = line_of("functions.py", code) if code else ""
    assert where + words in opened(process, bad(name))


def test_a_list_is_as_good_as_a_tuple(process: Side) -> None:
    process.spec = parse(bad("gives_a_list"))
    process.open()
    assert process.trains


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("raises_in_its_loss", 'KeyError("', "KeyError: 'no such target'"),
        ("raises_in_its_step", "ZeroDivisionError(", "ZeroDivisionError: no steps today"),
    ],
)
def test_a_side_that_raises_in_training(process: Side, name: str, code: str, words: str) -> None:
    x, y = np.zeros((2, 13), np.float32), np.zeros((2, 1), np.float32)
    process.spec = parse(bad(name))
    with pytest.raises(InputError) as caught:
        process.open()
        process.steps([(x, y)], 1, {})
    told = str(caught.value)
    number = line_of("functions.py", code).split()[-1].strip(":")
    assert told.startswith(f"A ({bad(name)}): ") and words in told
    assert f"functions.py:{number}" in told or f"functions.py line {number}: " in told


def test_a_model_that_is_not_compiled(process: Side) -> None:
    told = opened(process, f"{BAD / 'uncompiled.py'}:model")
    assert "uncompiled: expected a compiled keras.Model" in told and "call model.compile(" in told
