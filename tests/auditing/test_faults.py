"""Whose fault an error is: the user's code is named by its line, ours is called a fault."""

from typing import Any

import numpy as np
import pytest

from diptych.auditing import audit, jobs
from diptych.auditing.examples import Examples
from diptych.auditing.frameworks import users
from diptych.auditing.running import _rehearse
from diptych.auditing.side import Failed, Fault, Side
from diptych.auditing.spec import Spec
from diptych.auditing.stages import gradients, structure
from diptych.errors import InputError
from diptych.worker import WorkerError


def calls_numpy_wrongly() -> None:
    np.zeros(3).reshape(2, 2)


def caught(run: Any) -> Exception:
    with pytest.raises(Exception) as error:
        run()
    return error.value


def test_an_error_in_the_users_code_is_theirs() -> None:
    error = caught(calls_numpy_wrongly)  # This file is a user's, as far as the audit knows.
    assert not users.is_ours(error) and not users.is_raised_here(error)
    assert (users.error_line(error) or "").startswith("test_faults.py:")


def test_an_error_in_this_program_is_ours_even_below_the_users_code() -> None:
    def users_forward() -> None:
        users.listed(3)  # pyright: ignore

    error = caught(users_forward)
    assert users.is_raised_here(error) and users.is_ours(error)
    with pytest.raises(TypeError), users.users_code("the module"):
        users_forward()
    with pytest.raises(TypeError), jobs.users_code():
        users_forward()
    words = r"the module fails: ValueError: .* \(test_faults.py:"
    with pytest.raises(InputError, match=words), users.users_code("the module"):
        calls_numpy_wrongly()
    words = r"test_faults.py line [0-9]+: ValueError"
    with pytest.raises(InputError, match=words), jobs.users_code():
        calls_numpy_wrongly()


def test_the_line_in_a_traced_function_is_in_the_message() -> None:
    message = f'in user code:\n\n    File "{__file__}", line 7, in loss  *\n\n    KeyError: 3\n'
    error = ValueError(message)
    assert users.error_line(error) == "test_faults.py:7"
    assert users.one_line(error) == "KeyError: 3"


def test_kerass_words_around_an_error_are_left_out() -> None:
    error = ValueError(
        "Exception encountered when calling Net.call().\n\n\x1b[1mno.\x1b[0m\n\nmore"
    )
    assert users.one_line(error) == "ValueError: no."


class Broken:
    """A worker in which something fails."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def call(self, *arguments: Any, **named: Any) -> Any:
        raise self.problem


@pytest.mark.parametrize(
    ("problem", "kind", "words"),
    [
        (InputError("b.py line 3: KeyError: 'x'"), Failed, "B .b.py:build.: b.py line 3"),
        (
            WorkerError("the worker process failed: KeyError: 'x'\nmore"),
            Fault,
            "an error in the audit",
        ),
    ],
)
def test_a_side_tells_the_two_apart(problem: Exception, kind: type[Exception], words: str) -> None:
    side = Side.__new__(Side)
    Side.__init__(side, "B", Spec("b.py:build", "file", "b.py", "build"))
    side.worker.close()
    side.worker = Broken(problem)  # pyright: ignore
    with pytest.raises(kind, match=words):
        side.load({})


def test_a_stage_that_fails_is_not_compared_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: Any) -> Any:
        raise KeyError("planted")

    monkeypatch.setattr(structure, "check", broken)
    monkeypatch.setattr(gradients, "check", broken)
    result = audit("numpy:dense", "numpy:dense")
    failed = {stage.name: stage for stage in result.stages if stage.fault}
    assert set(failed) == {"structure", "gradients"}
    assert all(stage.ok is None and "planted" in stage.note for stage in failed.values())
    assert result.same and not result.complete
    assert "structure (an error in the audit itself: KeyError: 'planted'" in result.conclusion
    assert {"forward", "update", "trajectory"} <= {s.name for s in result.stages if s.ok}


class Training:
    """A side whose training runs for some steps."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.asked = 0

    def steps(self, batches: list[Any], steps: int, numbers: Any) -> None:
        self.asked = steps
        if steps > self.runs:
            raise Failed(f"A (a.py:build): a.py line 9: ValueError: step {self.runs + 1}")


def test_a_training_that_fails_in_its_fifth_step_is_no_side() -> None:
    sides: Any = {"a": Training(4), "b": Training(100)}
    x = {"a": np.zeros((8, 3)), "b": np.zeros((8, 3))}
    with pytest.raises(InputError, match=r"a\.py line 9: ValueError: step 5"):
        _rehearse(sides, Examples(x, x, x, x))
    sides = {"a": Training(100), "b": Training(100)}
    _rehearse(sides, Examples(x, x, x, x))
    assert sides["a"].asked == sides["b"].asked > 5
