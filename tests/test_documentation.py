"""The documentation: every block of code in it is tried, as far as that takes seconds.

Commands are parsed by the command line itself and not run; Python runs; networks are loaded. Python
that trains for a minute or more is compiled alone.
"""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from pytest_examples import CodeExample, EvalExample, find_examples

from diptych.auditing.causes import CAUSES
from diptych.cli.app import app
from diptych.network import Network

PROJECT = Path(__file__).parents[1]
PAGES = [
    PROJECT / "README.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
    *sorted((PROJECT / "examples").rglob("*.md")),
    PROJECT / "bench" / "README.md",
    PROJECT / "CONTRIBUTING.md",
]
SLOW = ("print(compare(", "GridSearchCV", 'train("numpy"')
"""Marks of the Python blocks that train for minutes; each of these is compiled."""
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
CONTINUED = re.compile(r"\\\n\s*")
README_LINES = 120


def blocks(*languages: str) -> list[tuple[str, str]]:
    """All blocks of these languages: where, and what they hold."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            if block[2] in languages:
                line = text.count("\n", 0, block.start()) + 1
                found.append((f"{page.relative_to(PROJECT)}:{line}", block[3]))
    return found


def commands() -> list[tuple[str, list[str]]]:
    """Every command of ours in the pages: where, and its arguments."""
    result = []
    for where, text in blocks("sh", "console"):
        for line in CONTINUED.sub(" ", text).splitlines():
            for command in re.split(r" \| |; ", line.strip().removeprefix("$ ")):
                words = command.strip().removeprefix("do ").strip()
                if words.startswith("diptych "):
                    result.append((where, shlex.split(words, comments=True)[1:]))
    return result


@pytest.mark.parametrize("where, arguments", commands(), ids=lambda value: str(value))
def test_every_command_exists_with_its_options(where: str, arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = command.make_context("diptych", list(arguments) or ["--help"])
    while hasattr(command, "commands"):
        name, *rest = [*context._protected_args, *context.args]
        command = command.commands[name]
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("where, text", blocks("toml"), ids=lambda value: str(value)[:40])
def test_networks_are_networks(where: str, text: str, tmp_path: Path) -> None:
    if "layers" in tomllib.loads(text):
        file = tmp_path / "network.toml"
        file.write_text(text)
        assert Network.load(str(file)).layers


def python_blocks() -> list[CodeExample]:
    return [
        example
        for example in find_examples(*PAGES)
        if "--8<--" not in example.source
        and "<!-- cut" not in example.source
        and "explanation/workflows.md" not in str(example.path)
    ]


@pytest.mark.parametrize("example", python_blocks(), ids=str)
def test_python_runs(
    example: CodeExample, eval_example: EvalExample, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if any(mark in example.source for mark in SLOW):
        compile(example.source, str(example.path), "exec")
        return
    monkeypatch.chdir(tmp_path)
    eval_example.run(example)


def test_the_readme_is_short() -> None:
    lines = (PROJECT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= README_LINES


def test_every_cause_is_described() -> None:
    texts = tomllib.loads((PROJECT / "docs" / "causes.toml").read_text(encoding="utf-8"))
    assert texts.keys() == CAUSES.keys()
    assert all(text.keys() - {"threads"} == {"is", "looks", "how"} for text in texts.values())
    for thread in (one for text in texts.values() for one in text.get("threads", ())):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+: [A-Z0-9].+\.", thread), thread


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(
            r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")
        ):
            cause = re.search(r"causes/([\w-]+)\.md$", target)  # Made when the site is built.
            if not (cause and cause[1] in CAUSES):
                assert (page.parent / target).exists(), f"{page.relative_to(PROJECT)}: {target}"


def test_every_decision_says_when_why_and_what_was_measured() -> None:
    folder = PROJECT / "docs" / "decisions"
    index = (folder / "index.md").read_text(encoding="utf-8")
    records = sorted(path for path in folder.glob("*.md") if path.name != "index.md")
    assert len(records) > 90
    for record in records:
        title, date, rest = record.read_text(encoding="utf-8").split("\n\n", 2)
        day = re.match(r"\*(\d{4}-\d\d-\d\d)\*", date)
        assert day, record
        sections = re.findall(r"^## (.+)$", rest, re.MULTILINE)
        assert sections[:4] == ["Context", "Decision", "Alternatives", "Measured"], record
        assert f"- {day[1]} [{title.removeprefix('# ')}]({record.name})" in index
