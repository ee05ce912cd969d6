"""The commands of studies: what they print and write, and wrong input in one line, exit code 2."""

import json
import re
from pathlib import Path

import pytest

from diptych import cli
from diptych.render.study import quick_sentence
from diptych.runs import find
from diptych.study.chosen import chosen, everything
from diptych.study.description import Study
from diptych.study.space import Search

SMALL = """
question = "Is a higher rate better?"
seeds = 2
base.workflow = "numpy"
base.data = "{data}"
base.recipe = "plain"
base.values.epochs = 1
base.layers = [{{ kind = "flatten" }}, {{ kind = "dense", units = 10 }}]
"""
LOCAL = ("--ray", "local")
STUDY = """
answer = { kind = "higher" }
[arms]
fast = { values = { learning_rate = 0.01 } }
slow = { values = { learning_rate = 0.00001 } }
"""
SEARCH = """
trials = 2
[space]
learning_rate = { low = 0.0001, high = 0.01 }
"""


def written(file: Path, digits: Path, rest: str) -> str:
    file.write_text(SMALL.format(data=digits) + rest)
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.run(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_study_from_its_file_to_its_report(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "rate.toml", digits, STUDY)
    runs, answer = str(tmp_path / "runs"), tmp_path / "answer.json"
    code, out, errors = run(capsys, "study", "run", file, "--runs", runs, "--json", str(answer))
    assert code == 0
    assert "study rate: 4 of 4 runs have ended" in errors
    assert "Report: " in out and "2 seeds per arm" in out
    [study] = json.loads(answer.read_text())["studies"]
    assert [arm["name"] for arm in study["arms"]] == ["fast", "slow"]
    page = (tmp_path / "runs" / "study-rate" / "report.html").read_text()
    assert "Is a higher rate better?" in page and "fast" in page and study["word"] in page.lower()
    code, again, _ = run(capsys, "study", "show", file, "--runs", runs)
    assert code == 0 and again == out


def test_a_search_from_its_file_to_its_report(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "rates.toml", digits, SEARCH)
    runs = str(tmp_path / "runs")
    code, out, errors = run(capsys, "study", "run", file, "--runs", runs, "--seeds", "1")
    assert code == 0
    assert "search rates: 2 of 2 trials have ended" in errors
    assert "2 trials by tpe" in out and "Test accuracy, measured only at the end" in out
    page = (tmp_path / "runs" / "study-rates" / "report.html").read_text()
    assert "data:image/png;base64," in page
    code, again, _ = run(capsys, "study", "show", file, "--runs", runs)
    assert code == 0 and again == out


@pytest.mark.parametrize(
    "rest, options, message",
    [
        (STUDY, ["--ray", "127.0.0.1:1"], "no cluster answers there"),
        (STUDY, ["--ray", "local", "--at-once", "2"], "give one of them"),
        (STUDY, ["--ray", "nowhere.invalid:6379"], "no cluster answers there"),
        (STUDY, ["--storage-path", "/tmp"], "--storage-path: it is for a cluster"),
        (STUDY, ["--dashboard"], "--dashboard: it is for a cluster"),
        (STUDY, [*LOCAL, "--storage-path", "nothing://x"], "--storage-path nothing://x: "),
        (STUDY, [*LOCAL, "--storage-path", "/proc/nowhere"], "cannot be written and read"),
        (STUDY, ["--trials", "3"], "--trials: study .* is not a search"),
        (STUDY, ["--storage", "sqlite://"], "--storage: study .* is not a search"),
        (STUDY, ["--at-once", "0"], "--at-once"),
        (STUDY, ["--seeds", "0"], "--seeds"),
        (STUDY + 'more = { wrkflow = "torch" }', [], "unknown key .arms.more.wrkflow"),
        (STUDY + "[quick_arms]\nfats = {}", [], "no arm 'fats' .did you mean fast"),
        (STUDY + "= 3", [], "not TOML"),
        (SEARCH, ["--ray", "auto"], "does not run on a cluster"),
        (SEARCH, ["--trials", "0"], "--trials"),
        (SEARCH, ["--sampler", "tep"], "did you mean tpe"),
        (SEARCH, ["--storage", "sqlite:////nowhere/search.db"], "cannot open it"),
        (SEARCH + "warmup = { low = 0.5, high = 0.5 }", [], "the range is empty"),
    ],
)
def test_wrong_input_is_one_line(
    rest: str,
    options: list[str],
    message: str,
    digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = written(tmp_path / "rate.toml", digits, rest)
    runs = tmp_path / "runs"
    code, out, errors = run(capsys, "study", "run", file, "--runs", str(runs), *options)
    assert (code, out) == (2, "")
    lines = [line for line in errors.splitlines() if line.startswith("diptych:")]
    others = [line for line in errors.splitlines() if " of 4 runs have ended" not in line]
    assert lines == others and len(lines) == 1
    assert re.search(message, lines[0])
    assert all(known.status == "new" for known in find(runs))


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_name_that_is_not_there(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, message in (
        ("epoch", "did you mean epochs"),
        ("serach", "did you mean search"),
        ("none.toml", "none.toml"),
        (str(tmp_path / "none.toml"), "none.toml"),
    ):
        code, _, errors = run(capsys, "study", command, name, "--runs", str(tmp_path))
        assert code == 2 and len(errors.splitlines()) == 1 and message in errors


def test_claims_are_all_studies_with_a_sentence_of_the_article() -> None:
    claims = chosen("claims")
    assert isinstance(claims, list) and len(claims) == 15
    assert all(study.claim for study in claims)
    assert isinstance(chosen("search"), Search)
    assert {"epochs", "search"} <= {known.name for known in everything()}


def test_the_quick_study_says_what_it_changes() -> None:
    assert quick_sentence(Study.load("epochs")) == (
        "This is the quick study: fewer seeds, and trainings with recipe = fast; longer: "
        "epochs = 6; ten: epochs = 3."
    )
