"""A full disk ends a command in one line, and leaves nothing that is half."""

import errno
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diptych import training
from diptych.errors import InputError, explained
from diptych.formats import exporting
from diptych.formats.registry import FORMATS
from diptych.runs import Run
from diptych.whole_files import write_whole
from support import COMMAND, assert_same_training, plain_environment, whole_files

MakeRun = Callable[..., Run]


def limited(largest: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line where no file may have more than so many bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=plain_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        timeout=300,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()
    assert [line for line in last if line.startswith("diptych: ")] == last[-1:]
    assert reason in last[-1]
    assert "Traceback" not in done.stderr


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if "partial" in path.name]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 48 kB, where the system lets a test have one."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting is not permitted")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def test_a_run_that_cannot_be_described_leaves_no_folder(
    tmp_path: Path, small_toml: Path, few_digits: Path
) -> None:
    arguments = ["--network", small_toml, "--data", few_digits, "--runs", tmp_path / "runs"]
    done = limited(1000, "train", "numpy", *arguments)
    assert_one_line(done, f"run.json: {os.strerror(errno.EFBIG)}")
    assert list((tmp_path / "runs").iterdir()) == []
    done = limited(1000, "compare", "--workflows", "numpy,torch", *arguments)
    assert_one_line(done, f"run.json: {os.strerror(errno.EFBIG)}")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_checkpoint_that_has_no_room(new_run: MakeRun, small_disk: Path) -> None:
    """The run before it is whole, and ends as if nothing had happened once there is room."""
    reference = training.carry_out(new_run(), lambda _: None)
    run = new_run()
    place = small_disk / run.name
    subprocess.run(["cp", "-r", run.folder, place], check=True)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 28 * 1024)
    with pytest.raises(InputError, match="No space left on device; make room") as raised:
        training.carry_out(Run(place), lambda _: None)
    assert "\n" not in str(raised.value)
    assert leftovers(small_disk) == []
    whole_files(place)
    filler.unlink()
    assert_same_training(training.carry_out(Run(place), lambda _: None), reference)


@pytest.mark.parametrize("to", ["safetensors", "onnx", "keras", "torch"])
def test_an_export_that_has_no_room(pair: dict[str, Run], small_disk: Path, to: str) -> None:
    pytest.importorskip({"keras": "tensorflow", "safetensors": "numpy"}.get(to, to))
    (small_disk / "filler").write_bytes(b"0" * 44 * 1024)
    with pytest.raises(InputError, match="No space left on device; make room") as raised:
        exporting.export(pair["numpy"], to, small_disk / f"a{FORMATS[to].suffix}")
    assert "\n" not in str(raised.value)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_an_answer_that_has_no_room(pair: dict[str, Run], small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"0" * 48 * 1024)
    with (small_disk / "out").open("w") as out:
        done = subprocess.run(
            [*COMMAND, "runs", "--runs", pair["numpy"].folder.parent, "--json", "-"],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == f"diptych: {os.strerror(errno.ENOSPC)}; make room, then try again\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(path, b"new")
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_known_by_whoever_tells_of_it() -> None:
    system = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "a/b")
    assert str(explained(system)) == f"a/b: {os.strerror(errno.EDQUOT)}; make room, then try again"
    library = RuntimeError("Can't write data (errno = 28, error = 'No space left on device')")
    assert "No space left on device" in str(explained(library))
    try:
        try:
            raise system
        except OSError as problem:
            raise ValueError("could not save") from problem
    except ValueError as problem:
        assert str(explained(problem)) == str(explained(system))
    bug = KeyError("a")
    bug.__context__ = FileNotFoundError(errno.ENOENT, "No such file", "b")
    assert explained(bug) is None
    assert explained(OSError(errno.ENOENT, "No such file")) is None
    long = OSError(errno.ENAMETOOLONG, "any words", "x" * 300)
    assert str(explained(long)) == f"{'x' * 300}: {os.strerror(errno.ENAMETOOLONG)}"
    assert explained(None) is None
