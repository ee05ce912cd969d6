"""How a message tells a person the command that fixes things."""

import errno
import os
import shutil
import sys

import pytest

from diptych.errors import InputError, command, explained


def test_a_command_can_be_called_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", [".venv/bin/diptych", "compare"])
    assert command("resume", "my runs/a") == "`.venv/bin/diptych resume 'my runs/a'`"
    monkeypatch.setattr(sys, "argv", ["notebook.py"])
    assert command("runs") == "`diptych runs`"
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/diptych")
    monkeypatch.setattr(sys, "argv", [".venv/bin/diptych", "compare"])
    assert command("runs") == "`diptych runs`"


def test_a_message_is_one_line() -> None:
    assert str(InputError("one\n  two\tthree")) == "one two three"


def test_too_little_memory_is_known_by_whoever_tells_of_it() -> None:
    for problem in (
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libscipy.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ):
        assert str(explained(problem)).startswith("too little memory: ")
    assert explained(ValueError("memory lane")) is None
