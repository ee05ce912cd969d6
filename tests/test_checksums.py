"""Every byte of a run's arrays and of its data is checked before it is used."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import training
from diptych.data import fingerprint as fingerprints
from diptych.data import load_data
from diptych.data.fingerprint import fingerprint
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.workflows.progress import Progress

FILES = ("weights.safetensors", "predictions.safetensors", "checkpoint/state.safetensors")


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        action()
    return str(raised.value)


@pytest.fixture
def trained(tmp_path: Path, pair: dict[str, Run]) -> Run:
    """A copy of a finished run, to be damaged."""
    return Run(Path(shutil.copytree(pair["numpy"].folder, tmp_path / "trained")))


def read(run: Run, name: str) -> Any:
    return {
        "weights.safetensors": run.weights,
        "predictions.safetensors": run.predictions,
        "checkpoint/state.safetensors": run.load_checkpoint,
    }[name]()


def flip(path: Path, at: int, bit: int = 0) -> None:
    contents = bytearray(path.read_bytes())
    contents[at] ^= 1 << bit
    path.write_bytes(contents)


def test_run_json_has_the_checksums_that_sha256sum_prints(trained: Run) -> None:
    import hashlib

    listed = trained.description()["sha256"]
    assert set(listed) == set(FILES)
    for name in FILES:
        assert listed[name][0] == hashlib.sha256((trained.folder / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_goes_unnoticed(trained: Run, name: str) -> None:
    path = trained.folder / name
    size, generator = path.stat().st_size, np.random.default_rng(1)
    for at in [0, 8, size - 1, *generator.integers(0, size, 20).tolist()]:
        bit = int(generator.integers(8))
        flip(path, at, bit)
        assert "damaged or replaced" in refused(lambda: read(trained, name))
        flip(path, at, bit)
    read(trained, name)


def test_a_file_of_another_run_is_not_taken(trained: Run, pair: dict[str, Run]) -> None:
    for name in FILES[:2]:
        shutil.copy(pair["tensorflow"].folder / name, trained.folder / name)
        assert "damaged or replaced" in refused(lambda name=name: read(trained, name))


def test_a_checksum_that_is_missing_is_no_free_pass(trained: Run) -> None:
    path = trained.folder / "run.json"
    path.write_text(path.read_text().replace('"weights.safetensors"', '"weights,safetensors"'))
    assert "has no checksum of it" in refused(trained.weights)


def test_a_process_killed_between_file_and_checksum_loses_nothing(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either file is whole, whichever of the writes was the last."""
    progress, state = trained.load_checkpoint()
    assert state
    for steps in range(2):  # Killed before the first write's end, and before the second's.
        for _ in range(3):  # Over and over, by a new process each time.
            run, writes = Run(trained.folder), iter(range(10))
            before, _ = run.load_checkpoint()

            def killed(self: Path, target: Path, writes=writes, steps=steps) -> None:
                if next(writes) == steps:
                    raise SystemExit
                os.replace(self, target)  # noqa: PTH105 - what is patched

            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", killed)
                with pytest.raises(SystemExit):
                    run.save_checkpoint(Progress(epoch=99), state)
            assert Run(trained.folder).load_checkpoint()[0] == before == progress
    Run(trained.folder).save_checkpoint(Progress(epoch=99), state)
    assert Run(trained.folder).load_checkpoint()[0].epoch == 99


def test_a_checksum_list_does_not_grow(trained: Run) -> None:
    _, state = trained.load_checkpoint()
    assert state
    for epoch in range(5):
        trained.save_checkpoint(Progress(epoch=epoch), state)
    assert len(trained.description()["sha256"]["checkpoint/state.safetensors"]) == 2


# Data.


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fingerprints, "SETTLED_SECONDS", 0.0)
    return tmp_path / "cache" / "fingerprints"


def test_one_changed_training_pixel_stops_a_resumed_run(
    tmp_path: Path, cache: Path, few_digits: Path, small: Network, quick: Recipe
) -> None:
    folder = Path(shutil.copytree(few_digits, tmp_path / "few"))
    run = training.create("numpy", small, quick, str(folder), runs=tmp_path / "runs")
    images = folder / "train-images-idx3-ubyte"
    facts = images.stat()
    flip(images, 16 + 123 * 784 + 300)
    os.utime(images, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # As if it had not been changed.
    assert "changed since the run was started" in refused(lambda: training.resume(run))
    flip(images, 16 + 123 * 784 + 300)
    assert training.resume(run).status == "done"


def test_a_fingerprint_is_computed_once(
    tmp_path: Path, cache: Path, few_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(few_digits, tmp_path / "few"))
    value = fingerprint(load_data(folder))
    assert [path.read_text() for path in cache.iterdir()] == [value]
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "_hashed", lambda _: pytest.fail("hashed again"))
        assert fingerprint(load_data(folder)) == value
    [kept] = cache.iterdir()
    kept.write_text("not a hash")
    assert fingerprint(load_data(folder)) == value


def test_a_file_that_may_change_within_a_tick_of_the_clock_is_not_remembered(
    tmp_path: Path, cache: Path, few_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "SETTLED_SECONDS", 3600.0)
    folder = Path(shutil.copytree(few_digits, tmp_path / "few"))
    fingerprint(load_data(folder))
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, cache: Path, few_digits: Path
) -> None:
    folder = Path(shutil.copytree(few_digits, tmp_path / "few"))
    cache.parent.mkdir()
    cache.write_text("a file is in its place")
    assert len(fingerprint(load_data(folder))) == 16


def test_the_cache_of_fingerprints_does_not_grow(
    tmp_path: Path, cache: Path, few_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "MOST_KEPT", 3)
    for number in range(6):
        fingerprint(load_data(shutil.copytree(few_digits, tmp_path / str(number))))
    assert len(list(cache.iterdir())) == 3


def test_a_changed_picture_with_its_old_date_is_decoded_again(tmp_path: Path, cache: Path) -> None:
    from PIL import Image

    folder = tmp_path / "pictures"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(folder / name / f"{number}.bmp")
    before = fingerprint(load_data(folder))
    picture = folder / "b" / "2.bmp"
    facts = picture.stat()
    flip(picture, facts.st_size - 1)
    os.utime(picture, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert fingerprint(load_data(folder)) != before
