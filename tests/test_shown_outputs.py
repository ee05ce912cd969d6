"""The outputs that the pages show are those that the commands print.

Measured figures (times, memory, percentages, decimals), and line numbers in files of ours, vary;
all else is compared as it stands. A line ``...`` stands for lines that a page leaves out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import diptych as package
from diptych.comparison import compare_runs
from diptych.data import load_data
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.render.comparison import comparison_tables
from diptych.render.terminal import plain
from diptych.runs import Run, described
from diptych.whole_files import write_json
from support import diptych

PROJECT = Path(__file__).parents[1]
BLOCK = re.compile(r"^( *)```console\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
VARIES = re.compile(
    r"\d[\d,]*\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+|(?<=model\.py:)\d+"
    r"|[\d,]+(?=(?:%| MiB| s\b| of \d+ predictions| points))"
)
"""The figures in a line of output that are measured."""


def shown_in(page: str, command: str) -> list[str]:
    """The lines that a page shows below a command."""
    for block in BLOCK.finditer((PROJECT / page).read_text(encoding="utf-8")):
        first, *lines = block[2].splitlines()
        if first.startswith(f"$ {command}"):
            return lines
    raise AssertionError(f"{page} shows no output of {command}")


def pattern_of(line: str) -> str:
    """A line with a pattern for each measured figure; spaces may be more or fewer."""
    texts = VARIES.split(" ".join(line.split()))
    return r"\d[\d,.e+-]*".join(map(re.escape, texts)).replace(r"\ ", r"\s+")


def assert_printed(shown: list[str], printed: str) -> None:
    """Asserts that these lines were printed, in this order, and none between but for ``...``."""
    pieces = "\n".join(shown).split("\n...\n")
    at = 0
    for number, piece in enumerate(pieces):
        lines = [line for line in piece.removeprefix("...\n").splitlines() if line != "..."]
        pattern = r"\s+".join(pattern_of(line) for line in lines if line.strip())
        match = re.compile(pattern).search(printed, at)
        assert match, f"not printed (piece {number + 1}):\n{piece}\n\nbut:\n{printed[at:]}"
        at = match.end()


def test_a_line_that_is_not_printed_is_told() -> None:
    printed = "A 1.25 s\nB 3 layers\nC\n"
    assert_printed(["A 9.0 s", "...", "C"], printed)
    for shown in (["A 9.0 s", "C"], ["B 4 layers"], ["C", "...", "A 9.0 s"]):
        with pytest.raises(AssertionError, match="not printed"):
            assert_printed(shown, printed)


TUTORIAL = "docs/tutorials/test-suite.md"
FILE = re.compile(r"```python\n# (\w+\.py)\n.*?```", re.DOTALL)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the tutorial on test suites."""
    for file in FILE.finditer((PROJECT / TUTORIAL).read_text(encoding="utf-8")):
        lines = file[0].splitlines()[1:-1]
        (tmp_path / file[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_pytest(**environment: str) -> str:
    plugin = ("-p", "diptych.pytest_plugin")
    command = [sys.executable, "-m", "pytest", *plugin, "-q", "test_port.py"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    clean["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=clean | environment)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_the_annotation_in_the_tutorial_of_test_suites(suite: Path) -> None:
    """By the structure alone, which takes seconds."""
    test = suite / "test_port.py"
    asks = '"new.py:build"'
    test.write_text(test.read_text().replace(asks, f'{asks}, only=["structure"]'))
    page = (PROJECT / TUTORIAL).read_text(encoding="utf-8")
    [annotation] = re.findall(r"^::error .*$", page, re.MULTILINE)
    assert_printed([annotation], run_pytest(GITHUB_ACTIONS="true"))
    shown = shown_in(TUTORIAL, "pytest -q test_port.py")
    first = next(n for n, line in enumerate(shown) if line.startswith("1. "))
    assert_printed(shown[first : first + 5], run_pytest())


@pytest.mark.exhaustive
def test_the_tutorial_of_test_suites(suite: Path) -> None:
    assert_printed(shown_in(TUTORIAL, "pytest -q test_port.py"), run_pytest())
    module = suite / "new.py"
    module.write_text(module.read_text().replace("Dropout(0.5)", "Dropout(0.2)"))
    done = diptych("record", "old.py:build", "-o", "old.diptych")
    assert_printed(shown_in(TUTORIAL, "diptych record"), done.stdout)
    for old in ("old.py:build", "old.diptych"):
        done = diptych("audit", old, "new.py:build", "--accept", "weight-decay")
        assert done.returncode == 0, done.stdout


ARTICLE = ("audit", "tensorflow:article-tensorflow", "keras:article-keras")


def test_the_finding_in_the_readme() -> None:
    """The first finding; the last line names what the other stages find too."""
    shown = shown_in("README.md", "diptych audit tensorflow:")
    done = diptych(*ARTICLE, "--only", "structure")
    assert done.returncode == 1, done.stderr
    assert_printed(shown[:-2], done.stdout)


@pytest.mark.exhaustive
def test_the_whole_audit_in_the_readme() -> None:
    command = [sys.executable, "-m", "diptych.cli", *ARTICLE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for page in ("README.md", "docs/tutorials/article.md"):
        assert_printed(shown_in(page, "diptych audit tensorflow:"), done.stdout)


def test_the_audit_in_the_tutorial_of_a_port() -> None:
    folder = PROJECT / "examples" / "audit" / "pytorch-defaults"
    shown = shown_in("docs/tutorials/port.md", "diptych audit examples/audit/pytorch-defaults")
    stages = ("structure", "initial weights", "update")
    sides = (f"{folder}/a.py:build", f"{folder}/b.py:build")
    audit = package.audit(*sides, only=stages, timeout=600)
    printed = plain(audit)
    # The stages that this test leaves out have lines in the page.
    lines = [line for line in shown if not re.match(r"[✓✗–] (?!structure|initial|update)", line)]
    assert_printed(lines, printed)


def test_the_comparison_in_the_readme(pair: dict[str, Run], tmp_path: Path) -> None:
    """Two runs whose predictions are made up, with as many right as the README has."""
    shown = shown_in("README.md", "diptych compare")
    mnist = load_data("mnist")
    labels, article, fast = mnist.test.labels, Network.load("article"), Recipe.load("fast")
    runs = []
    for workflow, first, wrong, seconds in (("tensorflow", 0, 69, 37.9), ("keras", 40, 63, 45.8)):
        folder = tmp_path / workflow
        run = Run(Path(shutil.copytree(pair["numpy"].folder, folder)))
        description = described(article, fast, workflow, mnist, 0)
        made = {key: description[key] for key in ("workflow", "network", "recipe", "data")}
        write_json(folder / "run.json", run.description() | made)
        answers = labels.copy()
        answers[first : first + wrong] = (answers[first : first + wrong] + 1) % 10
        run.save_predictions(np.eye(10, dtype=np.float32)[answers], labels)
        measured = {
            "test_images": 10_000,
            "test_correct": 10_000 - wrong,
            "test_accuracy": 1 - wrong / 10_000,
            "train_seconds": seconds,
        }
        run.save_result((run.result() or {}) | measured)
        runs.append(run)
    comparison = compare_runs(runs, runs=tmp_path / "comparison")
    assert_printed(shown, plain(comparison_tables(comparison)))
