"""Files and names that are not what they should be end in one line, and never in a wait."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych import changes, toml
from diptych.comparison import earlier
from diptych.data import load_data
from diptych.errors import InputError
from diptych.network import Network
from diptych.reading import open_regular, read_regular
from diptych.recipe import Recipe
from diptych.runs import Run, find
from support import diptych

RUN_FILES = (
    "run.json",
    "metrics.jsonl",
    "result.json",
    "weights.safetensors",
    "predictions.safetensors",
    "checkpoint/state.safetensors",
    ".lock",
)


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        action()
    return str(raised.value)


@pytest.fixture
def trained(tmp_path: Path, pair: dict[str, Run]) -> Run:
    """A copy of a finished run, to be damaged."""
    return Run(Path(shutil.copytree(pair["numpy"].folder, tmp_path / "runs" / "trained")))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))


# Reading.


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    file, pipe, link = tmp_path / "file", tmp_path / "pipe", tmp_path / "link"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    assert read_regular(file, 5) == b"12345"
    assert refused(lambda: read_regular(file, 4)) == f"{file}: 5 bytes, expected at most 4"
    assert refused(lambda: read_regular(pipe, 5)) == f"{pipe}: a named pipe, expected a file"
    assert refused(lambda: read_regular(link, 5)) == f"{link}: a device, expected a file"
    assert refused(lambda: read_regular(tmp_path, 5)) == f"{tmp_path}: a folder, expected a file"
    assert refused(lambda: read_regular(tmp_path / "no", 5)) == f"{tmp_path / 'no'}: no such file"
    assert "named pipe" in refused(lambda: open_regular(pipe, os.O_RDWR | os.O_CREAT))
    assert read_regular(file, 2**60) == b"12345"  # No memory is taken for what may be.
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(2**40)
    start = time.monotonic()
    assert "1,099,511,627,776 bytes" in refused(lambda: read_regular(large, 2**20))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", RUN_FILES)
def test_what_stands_for_a_run_s_file_is_told_at_once(trained: Run, name: str, kind: str) -> None:
    path = trained.folder / name
    if path.exists():
        path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()

    def use() -> None:
        run = Run.open(trained.folder)
        _ = run.metrics(), run.result(), run.weights(), run.predictions(), run.load_checkpoint()
        _ = run.is_training, run.status_now
        with run.locked():
            pass

    assert path.name in refused(use) or name == "run.json"
    assert [run.name for run in find(trained.folder.parent)] in ([], ["trained"])


def test_commands_do_not_wait_for_a_pipe(trained: Run) -> None:
    (trained.folder / "weights.safetensors").unlink()
    os.mkfifo(trained.folder / "weights.safetensors")
    done = diptych("evaluate", trained.folder)
    assert done.returncode == 2
    assert "a named pipe, expected a file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pipe_in_place_of_an_earlier_comparison(tmp_path: Path) -> None:
    for name, make in (("a", os.mkfifo), ("b", lambda path: path.symlink_to("nowhere"))):
        (tmp_path / name).mkdir()
        make(tmp_path / name / earlier.FILE)
    assert earlier.find(tmp_path, earlier.Identity("a", "b"), audited=False) == (None, {})


def test_a_name_that_is_too_long(trained: Run, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300 + ".safetensors")
    for arguments in (
        ["export", trained.folder, "--to", "safetensors", "--out", long],
        ["runs", "--runs", trained.folder.parent, "--json", long],
        ["code", "numpy:article", "--out", long],
    ):
        done = diptych(*arguments)
        assert done.returncode == 2, done.stderr
        assert "File name too long" in done.stderr
        assert done.stderr.count("\n") == 1


# Folders of pictures.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((8, 8), 50 * number, np.uint8)).save(
                folder / name / f"{number}.png"
            )
    return folder


def test_a_class_folder_whose_name_is_not_utf_8(pictures: Path) -> None:
    (pictures / "b").rename(os.fsdecode(os.fsencode(pictures) + b"/caf\xe9"))
    assert r"caf\xe9 is not UTF-8; rename it" in refused(lambda: load_data(pictures))
    done = diptych("data", "info", pictures)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_a_data_folder_whose_name_is_not_utf_8_can_be_trained_on(
    few_digits: Path, small: Network, quick: Recipe, tmp_path: Path
) -> None:
    from diptych import training

    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copytree(few_digits, folder)
    run = training.train("numpy", small, quick, folder, runs=tmp_path / "r", report=lambda _: None)
    assert run.description()["data"]["source"] == folder
    assert diptych("runs", "--runs", tmp_path / "r").returncode == 0


def test_what_macos_puts_into_archives_is_no_class(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(pictures / "a", pictures / "__MACOSX" / "a")
    assert load_data(pictures).class_names == ("a", "b")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        f"left out: {pictures / '__MACOSX'}, which macOS' archives bring along"
    ]


# TOML.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "9" * 4301, "digits"),
        ("a = " + "[" * 100_000, "nested too deep"),
        ("a = " + "{b = " * 50_000, "nested too deep"),
        (".".join("a" * 100_000) + " = 1", "dots"),
        (".".join(['"a"'] * 60_000) + " = 1", "dots"),
        ("[" + ".".join("a" * 100_000) + "]", "dots"),
        ("\n".join("layers.x" + ".a" * 499 + f"{at} = 1" for at in range(200)), "missing"),
        ("x = 1\n" * 100_000, "bytes"),
    ],
)
def test_toml_that_would_go_off(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bomb.toml"
    path.write_text(text)
    for described in (Network, Recipe):
        start = time.process_time()
        answer = refused(lambda described=described: described.load(path))
        assert time.process_time() - start < 5
        assert "bomb.toml" in answer
        assert len(answer) < 1000
    with pytest.raises(InputError, match=message):
        Network.load(path)


def test_a_link_to_an_endless_device_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "bomb.toml").symlink_to("/dev/zero")
    assert "a device, expected a file" in refused(lambda: Network.load(tmp_path / "bomb.toml"))


def test_settings_that_would_go_off_are_text() -> None:
    for text in ("9" * 5000, "[" * 5000):
        assert changes.parse([f"learning_rate={text}"])["learning_rate"] == [text]
    with pytest.raises(ValueError, match="digits"):
        toml.parse("a = " + "9" * 5000)


def test_a_network_of_very_many_layers() -> None:
    layers = [{"kind": "dropout", "rate": 0.5}] * 100_000
    start = time.process_time()
    answer = refused(lambda: Network.from_dict({"input_shape": [8, 8, 1], "layers": layers}))
    assert "it has 100,000 layers, expected up to 1000" in answer
    assert time.process_time() - start < 2
