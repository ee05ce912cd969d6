"""Sides in packages, in modules by their names, and in another Python."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from diptych.auditing.objects import named
from diptych.auditing.side import Side
from diptych.auditing.spec import elsewhere, parse
from diptych.errors import InputError

LAYERS = "def units():\n    return 10\n"
SIDE = """
from .layers import units

def build():
    raise ValueError(f"{units()} units in {__name__}")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code" / "mine"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "layers.py").write_text(LAYERS)
    (folder / "model.py").write_text(SIDE)
    monkeypatch.chdir(tmp_path)
    return folder


def told(given: str) -> str:
    """What the side's function raises."""
    with pytest.raises(InputError) as failure, Side("A", parse(given)) as side:
        side.open()
    return str(failure.value)


def test_a_file_that_imports_from_its_own_package(package: Path) -> None:
    message = told("code/mine/model.py:build")
    assert "model.py line 5: ValueError: 10 units in mine.model" in message


def test_a_module_by_its_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(package.parent)
    assert "10 units in mine.model" in told("mine.model:build")
    spec = parse("mine.model:build")
    assert (spec.form, spec.where) == ("file", str(package / "model.py"))
    assert parse("mine:build").where == str(package / "__init__.py")
    assert parse("keras:article").form == "workflow"


def test_a_function_of_a_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package.parent)
    build = importlib.import_module("mine.model").build
    spec, worker = named(build)
    assert worker is None and spec.given == "code/mine/model.py:build"
    assert (spec.module, spec.name) == ("mine.model", "build")
    with pytest.raises(InputError) as failure, Side("A", spec) as side:
        side.open()
    assert "10 units in mine.model" in str(failure.value)
    for module in ("mine", "mine.model", "mine.layers"):
        monkeypatch.delitem(sys.modules, module)


def test_relative_imports_without_a_package(package: Path) -> None:
    (package / "__init__.py").unlink()
    message = "relative imports and its folder is no package; expected an __init__.py in"
    with pytest.raises(InputError, match=message):
        parse("code/mine/model.py:build")


def test_a_side_in_another_python(package: Path) -> None:
    """The other Python is this one, by a program that sets a variable."""
    other = package.parent / "python"
    other.write_text(f'#!/bin/sh\nexport MARK=other\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    (package / "model.py").write_text(
        "import os\nfrom .layers import units\n\ndef build():\n    raise ValueError("
        "os.environ['MARK'])\n"
    )
    assert "model.py line 5: ValueError: other" in told(f"code/mine/model.py:build@{other}")
    assert "MARK" not in os.environ


def test_a_side_behind_a_command(package: Path, tmp_path: Path) -> None:
    """As ssh does it: the command's words go through a shell in another folder."""
    ssh, home = tmp_path / "ssh", tmp_path / "home"
    home.mkdir()
    (home / "tmp").mkdir()
    ssh.write_text(f'#!/bin/sh\nshift\ncd {home}\nexport TMPDIR={home}/tmp\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    lines = ["import os, sys", "def build():", "    print('noise')"]
    lines += ["    raise ValueError(f'{os.getcwd()} {sys.stdin.read()!r}')"]
    (home / "there.py").write_text("\n".join(lines))
    command = f"{ssh} host {sys.executable} -P"
    for _ in range(2):
        with (
            pytest.raises(InputError) as failure,
            Side("A", elsewhere("there.py:build", command)) as side,
        ):
            side.open()
        assert f"there.py line 4: ValueError: {home} ''" in str(failure.value)
    assert not list((home / "tmp").iterdir())


@pytest.mark.parametrize(
    ("given", "command", "message"),
    [
        ("x.py:build", "no-such-program x", "command 'no-such-program x' cannot be started"),
        ("x.py:build", "'", "No closing quotation"),
        ("keras:article", "ssh host python", "somewhere else a side is FILE.py:FUNCTION"),
        ("none.py:build", f"{sys.executable} -P", "there is no file .*none.py"),
        ("x.py:build", "false", "process ended by exit code 1"),
    ],
)
def test_a_command_that_does_not_do(given: str, command: str, message: str) -> None:
    with pytest.raises(InputError, match=message), Side("A", elsewhere(given, command)) as side:
        side.open()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("code/mine/model.py:build@./none", "./none is no program"),
        ("numpy:article@/bin/sh", "only FILE.py:FUNCTION@PYTHON has a Python of its own"),
        ("mine.nothing:build", "no such workflow"),
    ],
)
def test_what_is_not_there(package: Path, given: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(given)
