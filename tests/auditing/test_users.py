"""The user's code, told from the libraries that it calls."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import diptych.recipe
import diptych.workflows.numpy.workflow
from diptych.auditing.frameworks.users import (
    error_line,
    is_users,
    listed,
    one_line,
    silenced,
    user_line,
    users_code,
)
from diptych.errors import InputError

HERE = Path(__file__)


def line(text: str) -> str:
    """The place of a piece of text in this file."""
    lines = HERE.read_text().splitlines()
    return f"{HERE.name}:{next(i for i, code in enumerate(lines, 1) if text in code)}"


def test_which_files_are_the_users() -> None:
    assert is_users(__file__) and is_users("<stdin>") and is_users("/somewhere/else/train.py")
    for module in (json, np, pytest, diptych.recipe):
        assert module.__file__ and not is_users(module.__file__)
    assert not is_users("<frozen importlib._bootstrap>") and not is_users("<string>")
    # Our own workflows are audited as a user's code is.
    assert is_users(diptych.workflows.numpy.workflow.__file__)


def test_a_library_that_calls_back_is_passed_over() -> None:
    def key(numbers: np.ndarray) -> np.ndarray:
        lines.append(user_line(sys._getframe(1)))
        return numbers

    lines: list[str | None] = []
    np.apply_along_axis(key, 0, np.ones(1))  # through NumPy
    assert lines == [line("# through NumPy")] and user_line(None) is None


def test_the_line_that_makes_an_object() -> None:
    @dataclasses.dataclass
    class Layer:
        made: str | None = None

        def __post_init__(self) -> None:
            self.made = user_line(sys._getframe(0), made=self)

    assert Layer().made == line("assert Layer().made")


def test_an_error_is_one_line_with_its_place() -> None:
    def broken() -> None:
        json.loads("{")  # the place

    with pytest.raises(InputError) as caught, users_code("the loss"):
        broken()
    assert str(caught.value) == (
        "the loss fails: JSONDecodeError: Expecting property name enclosed in double quotes: "
        f"line 1 column 2 (char 1) ({line('# the place')})"
    )
    assert caught.value.__cause__ and error_line(caught.value.__cause__) == line("# the place")
    with pytest.raises(InputError, match=r"^as it is$"), users_code("the loss"):
        raise InputError("as it is")
    assert one_line(ValueError("\n two \n lines")) == "ValueError: two"
    assert one_line(ValueError()) == "ValueError"
    assert listed(["a", "b"]) == "`a`, `b`"


def test_what_is_printed_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with silenced():
        print("one")
        print("two", file=sys.stderr)
    assert capsys.readouterr() == ("", "")
