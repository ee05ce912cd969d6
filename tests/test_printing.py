"""Nothing that is printed moves the cursor, hides text or renames the window."""

import ast
import json
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from rich.text import Text

import diptych as package
from diptych.printing import EscapedFormatter, as_json, escaped, say
from diptych.render import terminal
from diptych.runs import Run
from diptych.whole_files import write_json
from support import diptych

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b1m\u202eb"
WRITTEN = r"a\x1b]0;owned\x07\x1b[2J\x9b1m\u202eb"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert escaped(HOSTILE) == WRITTEN
    assert escaped("two\nlines\twith é, 漢字 and 🙂") == "two\nlines\twith é, 漢字 and 🙂"
    assert escaped(os.fsdecode(b"caf\xe9\r")) == r"caf\xe9\x0d"
    assert escaped("\ud800") == r"\ud800"
    assert escaped(escaped(HOSTILE)) == escaped(HOSTILE)


def test_lines_and_logs_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE, Path(HOSTILE), error=True)
    record = logging.LogRecord("diptych", logging.INFO, "", 0, "left out: %s", (HOSTILE,), None)
    assert capsys.readouterr().err == f"{WRITTEN}\n{WRITTEN}\n"
    assert EscapedFormatter().format(record) == f"left out: {WRITTEN}"


def test_json_is_escaped_and_says_the_same() -> None:
    value = {HOSTILE: [HOSTILE, os.fsdecode(b"\xff"), "é"]}
    text = as_json(value)
    text.encode()
    assert not OBEYED.search(text.replace("\n", ""))
    assert json.loads(text) == value
    assert "é" in text


def test_tables_are_escaped_and_keep_their_colours(capsys: pytest.CaptureFixture[str]) -> None:
    table = terminal.table("Name")
    table.add_row(HOSTILE)
    table.add_row(Text("red", style="red"))
    assert WRITTEN in terminal.plain(table)
    assert "\x1b" not in terminal.html(table)
    output = terminal.Output(force_terminal=True, width=100, color_system="standard")
    output.print(table)
    shown = capsys.readouterr().out
    assert r"\x1b]0;owned" in shown
    assert "\x1b[31mred" in shown
    assert not OBEYED.search(re.sub(r"\x1b\[[\d;]*m", "", shown).replace("\n", ""))
    output.print(Text(HOSTILE))
    assert r"\x1b]0;owned" in capsys.readouterr().out


def test_only_one_place_prints() -> None:
    """Elsewhere nobody calls `print` or makes a console that does not escape."""
    root, callers = Path(package.__file__).parent, set()
    for path in root.rglob("*.py"):
        if "templates" in path.parts or "stock" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                is_silent = "is_terminal" in ast.unparse(node)
                if node.func.id in ("print", "Console") and not is_silent:
                    callers.add(f"{path.relative_to(root)}: {node.func.id}")
    assert callers - {"render/training.py: Console"} == {"printing.py: print"}


def test_names_in_files_are_escaped_by_commands(tmp_path: Path, pair: dict[str, Run]) -> None:
    runs = tmp_path / "runs"
    run = Run(Path(shutil.copytree(pair["numpy"].folder, runs / HOSTILE.replace("/", "-"))))
    description = run.description()
    description["network"]["name"] = description["recipe"]["name"] = HOSTILE
    description["data"]["class_names"][3] = HOSTILE
    write_json(run.folder / "run.json", description)
    commands = (["runs"], ["evaluate", run.name], ["resume", run.name])
    for arguments in (*commands, ["predict", run.name, "x\x1b"]):
        done = diptych(*arguments, "--runs", runs)
        for text in (done.stdout, done.stderr):
            assert not OBEYED.search(text.replace("\n", "")), arguments
        assert r"\x1b" in done.stdout + done.stderr, arguments


def test_an_exception_of_a_user_is_escaped(tmp_path: Path) -> None:
    side = tmp_path / "side.py"
    side.write_text(f"def build():\n    raise ValueError({HOSTILE!r})\n")
    done = diptych("audit", f"{side}:build", f"{side}:build")
    assert done.returncode == 2
    assert WRITTEN in done.stderr
    assert not OBEYED.search(done.stderr.replace("\n", ""))
