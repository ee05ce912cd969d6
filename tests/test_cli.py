import errno
import fcntl
import json
import os
import pty
import re
import resource
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import cli, training
from diptych.data import Data, fashion
from diptych.errors import InputError
from diptych.runs import Run, find
from support import COMMAND, diptych, plain_environment, start

ESCAPE = "\x1b"
FRAMEWORKS = ("tensorflow", "keras", "torch", "jax")
EPOCH = re.compile(r"Epoch 1 \| Last Batch Train Loss: .* \| Validation Accuracy: \d\.\d{4}")


def answer_of(*arguments: str | Path, stdin: bytes | None = None) -> dict[str, Any]:
    """What a command answers with ``--json -``: one JSON object and nothing else."""
    done = diptych(*arguments, "--json", "-", stdin=stdin)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    assert answer["schema"] == (2 if arguments[0] == "compare" else 1)
    return answer


@pytest.fixture
def arguments(small_toml: Path, few_digits: Path, tmp_path: Path) -> list[str]:
    """For a training or a comparison that takes a second."""
    return (
        f"--network {small_toml} --data {few_digits} --runs {tmp_path / 'runs'} --epochs 1 "
        "--batch-size 30"
    ).split()


# Starting.


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [], ["train", "-h"], ["summary"]])
def test_it_answers_without_a_framework(arguments: list[str]) -> None:
    # What takes long to import; the shapes of a network's weights are NumPy's.
    slow = ["scipy", "PIL"] + ([] if "summary" in arguments else ["numpy"])
    unwanted = [*FRAMEWORKS, *slow]
    code = (
        "import sys; from diptych import cli\n"
        "try: cli.main()\n"
        f"finally: print([m for m in {unwanted} if m in sys.modules], file=sys.stderr)"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    print(f"diptych {' '.join(arguments)}: {time.perf_counter() - began:.2f} s")
    assert done.stderr.strip() == "[]"
    assert "--help" in done.stdout or "Total parameters: 469,514" in done.stdout


def test_help_lists_the_commands() -> None:
    done = diptych("--help")
    assert done.returncode == 0
    for name in ("train", "resume", "compare", "runs", "evaluate", "predict", "summary", "data"):
        assert re.search(rf"\b{name}\b", done.stdout)


def test_the_version() -> None:
    assert re.fullmatch(r"diptych \d+\.\d+\.\d+\S*\n", diptych("--version").stdout)


# Answers.


def test_a_training_in_a_pipe(arguments: list[str], tmp_path: Path) -> None:
    done = diptych("train", "numpy", *arguments, "--json", tmp_path / "answer.json")
    assert done.returncode == 0
    [run] = find(tmp_path / "runs")
    first, epoch, final, where = done.stdout.splitlines()
    assert "network small" in first
    assert EPOCH.fullmatch(epoch)
    assert re.fullmatch(r"Final accuracy on test set: \d\.\d{4}", final)
    assert where == f"Run: {run.folder}"
    assert done.stderr == ""
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["schema"] == (2 if arguments[0] == "compare" else 1)
    assert answer["run"] == str(run.folder)
    assert answer["result"] == run.result()
    assert answer["epochs"] == run.metrics()


def test_a_training_that_answers_in_json(arguments: list[str], tmp_path: Path) -> None:
    done = diptych("train", "numpy", *arguments, "--json", "-", "--set", "schedule=one-cycle")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert EPOCH.search(done.stderr), "progress goes to standard error"
    run = Run(Path(answer["run"]))
    assert run.recipe.schedule == "one-cycle"
    assert (run.recipe.epochs, run.recipe.batch_size) == (1, 30)


def test_a_comparison_in_a_pipe(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    done = diptych("compare", "--workflows", "numpy,tensorflow", *arguments, "--json", file)
    assert done.returncode == 0, done.stderr
    assert ESCAPE not in done.stdout
    lines = done.stdout.splitlines()
    assert len([line for line in lines if EPOCH.fullmatch(line)]) == 2
    assert any(line.split() == ["numpy", "tensorflow"] for line in lines)
    answer = json.loads(file.read_text())
    assert answer["schema"] == 2
    assert answer["conclusion"] in lines
    assert lines[-4:] == [
        "Comparison:",
        f"  {answer['folder']}",
        "Report:",
        f"  {answer['folder']}/report.html",
    ]
    for run in find(tmp_path / "runs"):
        assert f"  {run.folder}" in lines
    assert done.stderr == ""


def test_runs_that_have_ended_are_compared(pair: dict[str, Run], tmp_path: Path) -> None:
    folders = [run.folder for run in pair.values()]
    answer = answer_of("compare", *folders, "--runs", tmp_path)
    assert [side["workflow"] for side in answer["sides"]] == ["tensorflow", "numpy"]
    assert [side["precision"] for side in answer["sides"]] == ["float32", "float64"]
    assert [path.name for path in tmp_path.iterdir()] == [Path(answer["folder"]).name]


def test_a_comparison_that_answers_in_json(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "--workflows", "numpy,tensorflow", *arguments, "--json", "-"]
    assert cli.run(command) == 0
    out, err = capfd.readouterr()
    answer = json.loads(out)
    assert (answer["schema"], answer["alike"]["network"]) == (2, "small")
    assert len(EPOCH.findall(err)) == 2


def test_every_other_command_answers_in_json(pair: dict[str, Run], few_digits: Path) -> None:
    run = pair["numpy"]
    found = answer_of("runs", "--runs", run.folder.parent)
    assert [one["folder"] for one in found["runs"]] == [str(each.folder) for each in pair.values()]
    found = answer_of("evaluate", run.folder)
    assert found["correct"] == (run.result() or {})["test_correct"]
    assert np.sum(found["confusion"]) == found["images"] == 200
    found = answer_of("summary", "article")
    assert found["parameters"] == 469_514
    assert {"article", "dense"} <= {each["name"] for each in answer_of("zoo")["networks"]}
    assert {each["name"] for each in answer_of("data", "list")["data"]} >= {"mnist"}
    assert answer_of("data", "info", few_digits)["images"]["test"] == 200


def test_pictures_are_read_in_json(reader: Run, tmp_path: Path, mnist: Data) -> None:
    picture = Image.fromarray(255 - mnist.test.images[0, ..., 0]).resize((300, 300))
    picture.save(tmp_path / "seven.png")
    named = answer_of("predict", reader.folder, tmp_path / "seven.png")["predictions"]
    piped = answer_of(
        "predict", reader.name, "-", "--runs", reader.folder.parent,
        stdin=(tmp_path / "seven.png").read_bytes(),
    )["predictions"]  # fmt: skip
    assert [one["answer"] for one in named + piped] == ["7", "7"]
    assert named[0]["image"] == str(tmp_path / "seven.png")
    done = diptych("predict", reader.folder, tmp_path / "seven.png")
    assert done.returncode == 0
    assert re.search(r"seven\.png\s+7\s+\d+\.\d%", done.stdout)


def test_a_run_s_evaluation_in_a_pipe(pair: dict[str, Run]) -> None:
    done = diptych("evaluate", pair["numpy"].folder)
    assert done.returncode == 0
    assert ESCAPE not in done.stdout
    correct = (pair["numpy"].result() or {})["test_correct"]
    assert f"Accuracy: {correct / 2:.2f}%" in done.stdout
    assert f"wrong: {200 - correct}" in done.stdout


def test_names_are_shown_as_they_are(tmp_path: Path, pair: dict[str, Run]) -> None:
    """Rich would take these for its own markup."""
    folder = tmp_path / "[bold]runs[red] :smile:"
    shutil.copytree(pair["numpy"].folder, folder / "[blue]one")
    done = diptych("runs", "--runs", folder)
    assert done.returncode == 0, done.stderr
    assert str(folder / "[blue]one") in done.stdout


# On a terminal.


def on_a_terminal(*arguments: str | Path, columns: int = 100) -> tuple[int, str]:
    """Runs the command line as a person would; returns its code and what the screen got."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in plain_environment().items() if k not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    screen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError as problem:
            assert problem.errno == errno.EIO
            break
        if not part:
            break
        screen += part
    os.close(ours)
    return process.wait(), screen.decode()


def test_a_comparison_on_a_terminal(arguments: list[str], tmp_path: Path) -> None:
    code, screen = on_a_terminal(
        "compare", "--workflows", "numpy,keras", *arguments, "--set", "learning_rate=0.01"
    )
    assert code == 0, screen
    assert re.search(r"━━+.* \d+%", screen), "no bar"
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    assert len(re.findall(r"Epoch 1 \| Last Batch", text)) == 2
    # The bar is erased before a line is printed above it.
    for before in re.findall(r"([^\n]*)Epoch 1 \| Last Batch", screen):
        assert before == "" or before.endswith(("\r", "\x1b[2K"))
    assert re.search(r"^ +numpy +keras\s*$", text, re.MULTILINE)
    for name in (
        "Test accuracy",
        "95% interval",
        "Training time",
        "Peak memory",
        "Lines of the script",
    ):
        assert re.search(rf"^ *{name} +\S+.* +\S+", text, re.MULTILINE), name
    [folder] = (tmp_path / "runs").glob("comparison-*")
    conclusion = json.loads((folder / "comparison.json").read_text())["conclusion"]
    assert conclusion in " ".join(text.split())
    assert screen.count("\x1b[?25l") == screen.count("\x1b[?25h"), "the cursor is left hidden"


def test_ctrl_c_on_a_terminal(small_toml: Path, few_digits: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "train", "numpy", "--network", small_toml, "--data", few_digits]
    process = subprocess.Popen(
        [*map(str, command), "--epochs", "500", "--batch-size", "10", "--runs", tmp_path / "runs"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env=os.environ | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    screen = b""
    while b"Epoch 2 |" not in screen:
        screen += os.read(ours, 65536)
    os.write(ours, b"\x03")
    try:
        while part := os.read(ours, 65536):
            screen += part
    except OSError as problem:
        assert problem.errno == errno.EIO
    os.close(ours)
    assert process.wait() == 130
    [run] = find(tmp_path / "runs")
    assert run.status == "stopped"
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.decode())
    assert "Traceback" not in text
    assert text.strip().endswith(f"Stopped and saved. `diptych resume {run.folder}` continues.")


# Failures that are nobody's wrong request.


def test_a_training_that_comes_to_nothing(arguments: list[str], tmp_path: Path) -> None:
    done = diptych("train", "numpy", *arguments, "--set", "learning_rate=1e300")
    assert done.returncode == 1
    [run] = find(tmp_path / "runs")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"diptych: run {run.folder}: the loss became ")
    assert run.status == "failed"


def test_a_worker_that_breaks(arguments: list[str], tmp_path: Path) -> None:
    """Its own error comes first, in one line, and what helps to fix it below."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'diptych.supervisor' in ' '.join(sys.orig_argv):\n"
        "    import diptych.workflows.numpy.workflow as module\n"
        "    module.Workflow = None\n"
    )
    done = diptych("train", "numpy", *arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    [run] = find(tmp_path / "runs")
    first, *details = done.stderr.splitlines()
    expected = f"diptych: run {run.folder}: the worker process failed: TypeError: 'NoneType'"
    assert first.startswith(expected)
    assert details[0] == "Traceback (most recent call last):"
    assert "cli.py" not in done.stderr
    assert run.status == "failed"


def test_a_reader_that_has_seen_enough(pair: dict[str, Run]) -> None:
    for command in (["runs", "--runs", str(pair["numpy"].folder.parent)], ["--help"], ["zoo"]):
        with subprocess.Popen(
            [*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.close()
            assert process.stderr.read() == ""
        # The help is printed by Typer, which calls this a failure.
        assert process.returncode == 0 or command == ["--help"]


def test_a_training_goes_on_without_its_reader(arguments: list[str], tmp_path: Path) -> None:
    process = start("train", "numpy", *arguments)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    [run] = find(tmp_path / "runs")
    assert run.status == "done"


def test_an_answer_that_cannot_be_written_any_more(
    pair: dict[str, Run], capfd: pytest.CaptureFixture[str]
) -> None:
    """The work is done: its answer is shown all the same."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    assert cli.run(["evaluate", str(pair["numpy"].folder), "--json", "/dev/full"]) == 2
    out, err = capfd.readouterr()
    assert "Accuracy:" in out
    assert err == "diptych: --json /dev/full: No space left on device\n"


# Wrong requests.


@pytest.fixture
def place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few_digits: Path,
    small_toml: Path,
    pair: dict[str, Run],
    new_run: Callable[..., Run],
) -> Path:
    """A working folder with things that are not what they should be."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "few").symlink_to(few_digits)
    (folder / "small.toml").symlink_to(small_toml)
    (folder / "finished").symlink_to(pair["numpy"].folder)
    new_run().folder.rename(folder / "unfinished")
    (folder / "folder.toml").mkdir()
    (folder / "empty").mkdir()
    (folder / "text.png").write_text("not a picture")
    (folder / "bad.toml").write_text("epochs = ")
    (folder / "odd.toml").write_text(
        "input_shape = [5, 5, 1]\nlayers = [{kind = 'flatten'}, {kind = 'dense', units = 10}]"
    )
    Image.new("L", (50, 50), 200).save(folder / "blank.png")
    monkeypatch.chdir(folder)
    # As on a machine without a network, where Fashion-MNIST has not been installed either.
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", folder / "not installed")
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion, "MIRRORS", ("http://127.0.0.1:9/",))
    return folder


TRAIN = "train numpy --network small.toml --data few"
COMPARE = "compare --workflows numpy,keras --network small.toml --data few"
WRONG = {
    "tarin numpy": "tarin",
    "train": "argument 'workflow'",
    "train numpy keras": "keras",
    "train nunpy --data few": "did you mean numpy?",
    "train '' --data few": "no such workflow",
    "--frobnicate": "--frobnicate",
    f"{TRAIN} --frobnicate": "--frobnicate",
    f"{TRAIN} --seed": "--seed",
    f"{TRAIN} --seed -1": "seed -1: expected a whole number from 0",
    f"{TRAIN} --seed 99999999999999999999": "expected a whole number from 0",
    f"{TRAIN} --seed 1.5": "'--seed'",
    f"{TRAIN} --epochs 0": "epochs = 0",
    f"{TRAIN} --epochs -1": "epochs = -1",
    f"{TRAIN} --epochs x": "'--epochs'",
    f"{TRAIN} --batch-size 0": "batch_size = 0",
    f"{TRAIN} --epochs 10001": "epochs = 10001",
    f"{TRAIN} --epochs many": "given 'many'",
    f"{TRAIN} --epochs 1 --set epochs=3": "expected one of them",
    f"{TRAIN} --early-stopping 0": "early_stopping = 0",
    f"{TRAIN} --checkpoint-every 0": "--checkpoint-every",
    f"{TRAIN} --set foo=1": "unknown key 'foo'",
    f"{TRAIN} --set learningrate=1": "did you mean learning_rate?",
    f"{TRAIN} --set learning_rate": "expected KEY=VALUE",
    f"{TRAIN} --set learning_rate=abc": "learning_rate = 'abc'",
    f"{TRAIN} --set learning_rate=-1": "learning_rate = -1",
    f"{TRAIN} --set learning_rate=nan": "learning_rate = nan",
    f"{TRAIN} --set schedule=none": "schedule = 'none'",
    f"{TRAIN} --recipe slow": "recipe 'slow'",
    f"{TRAIN} --recipe fsat": "did you mean fast?",
    f"{TRAIN} --recipe folder.toml": "folder.toml",
    f"{TRAIN} --recipe bad.toml": "not TOML",
    f"{TRAIN} --recipe small.toml": "unknown key",
    f"{TRAIN} --runs text.png": "text.png",
    f"{TRAIN} --json missing/answer.json": "there is no folder missing",
    f"{TRAIN} --json empty": "this is a folder",
    "train numpy --data few --network artcle": "did you mean article?",
    "train numpy --data few --network missing.toml": "missing.toml",
    "train numpy --data few --network folder.toml": "folder.toml",
    "train numpy --data few --network text.png": "not a .toml file",
    "train numpy --data few --network odd.toml": "--adapt",
    "train numpy --network small.toml --data nowhere": "nowhere",
    "train numpy --network small.toml --data text.png": "expected a folder",
    "train numpy --network small.toml --data empty": "empty",
    "train numpy --network small.toml --data fashion-mnist": "could not be downloaded",
    "compare --workflows tensorflow": "two or more different workflows",
    "compare --workflows numpy,numpy": "expected different ones",
    "compare --workflows ,": "expected one or more",
    "compare --network article,densse": "did you mean dense?",
    "compare --recipe fast,plian": "did you mean plain?",
    "compare --set dropout_scal=0,1": "did you mean dropout_scale?",
    "train numpy --set dropout_scale=0,1": "expected one value",
    "compare --workflows numpy,kears": "did you mean keras?",
    f"{COMPARE} --seeds 0": "--seeds",
    "compare finished": "two or more runs, given finished",
    "compare finished finished": "given twice",
    "compare finished finishd": "no run.json there",
    "compare finished nowhere": "no run.json there",
    "compare finished --seeds 1": "--seeds",
    f"{COMPARE} --seed 2147483647 --seeds 2": "expected a whole number from 0",
    f"{COMPARE} --json missing/answer.json": "there is no folder missing",
    f"{COMPARE} --set foo=1": "unknown key 'foo'",
    "resume": "RUN",
    "resume nowhere": "no run.json there or below runs/",
    "resume finished": "it has ended",
    f"resume {'x' * 3000}": "File name too long",
    "evaluate nowhere": "no run.json",
    "evaluate unfinished": "`diptych resume unfinished` ends it",
    "evaluate finished --data nowhere": "nowhere",
    "predict finished": "IMAGE",
    "predict finished missing.png": "missing.png",
    "predict finished text.png": "text.png is not a picture",
    "predict finished empty": "holds no pictures",
    "predict unfinished blank.png": "`diptych resume unfinished` ends it",
    "summary artcle": "did you mean article?",
    "summary missing.toml": "missing.toml",
    "data info nowhere": "nowhere",
    "data": "command",
}


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_request_gets_one_line(
    command: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    arguments = [each.strip("'") for each in command.split()]
    assert cli.run(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("diptych: ")
    assert WRONG[command] in line
    assert sorted(place.rglob("*")) == before, "something was left behind"


def test_a_wrong_request_from_outside(place: Path) -> None:
    for command, said in (
        (TRAIN + " --epochs 0", "epochs = 0"),
        ("predict finished -", "standard input is empty"),
    ):
        done = diptych(*command.split(), stdin=b"")
        assert done.returncode == 2
        assert done.stdout == ""
        line = done.stderr.splitlines()[-1]
        assert line.startswith("diptych: ")
        assert said in line
        assert "Traceback" not in done.stderr
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train ke", ["keras", "keras@jax", "keras@torch"]),
        ("evaluate fin", ["finished"]),
        (
            "train keras --network article-",
            ["article-keras", "article-tensorflow", "article-valid"],
        ),
        ("serve finished unf", ["unfinished"]),
    ],
)
def test_a_shell_completes(words: str, expected: list[str], place: Path) -> None:
    """Names of workflows, of the zoo, and of runs."""
    (place / "runs").mkdir()
    for name in ("finished", "unfinished"):
        (place / "runs" / name).symlink_to(place / name)
    environment = {
        "_DIPTYCH_COMPLETE": "complete_bash",
        "COMP_WORDS": f"diptych {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    # As the installed command does it: a shell completes `diptych`, not `python -m diptych.cli`.
    code = "import sys; sys.argv = ['diptych']; from diptych.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=plain_environment() | environment,
    )
    assert done.stdout.split() == expected


def test_a_folder_with_a_bad_picture(reader: Run, place: Path, mnist: Data) -> None:
    """The others are classified, and the bad one is named."""
    (place / "some").mkdir()
    (place / "some/bad.png").write_text("no picture")
    Image.fromarray(mnist.test.images[0, ..., 0]).save(place / "some/good.png")
    done = diptych("predict", reader.folder, "some")
    assert done.returncode == 2
    assert done.stderr.startswith("diptych: some/bad.png is not a picture")
    assert done.stderr.count("\n") == 1
    assert "some/good.png" in done.stdout and "bad.png" not in done.stdout


def test_a_blank_picture_of_a_digit(reader: Run, place: Path) -> None:
    done = diptych("predict", reader.folder, "blank.png")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("diptych: blank.png: ")


def test_all_workflows_are_counted_before_they_train(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_digits: Path
) -> None:
    seen: list[int] = []

    def carry_out(_: Run, report: Any, __: bool) -> None:
        seen.append(report.trainings)
        raise InputError("that is all")

    monkeypatch.setattr(training, "carry_out", carry_out)
    options = ["--data", str(few_digits), "--runs", str(tmp_path / "runs")]
    with pytest.raises(SystemExit):
        cli.main(["compare", "--workflows", "all", "--seeds", "3", *options])
    names = {run.workflow for run in find(tmp_path / "runs")}
    assert {"tensorflow", "keras"} <= names
    assert seen == [3 * len(names)]


@pytest.mark.parametrize("mebibytes", [120, 170, 250])
def test_too_little_memory_for_a_command_is_one_line(mebibytes: int) -> None:
    limit = mebibytes * 2**20
    done = subprocess.run(
        [*COMMAND, "runs"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"diptych: memory is limited to {mebibytes} MiB of addresses")
    assert done.stderr.count("\n") == 1
