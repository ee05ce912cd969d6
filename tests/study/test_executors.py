"""Runs at once on this machine, and on a Ray cluster of this machine with storage of its own."""

import importlib.util
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import machine
from diptych.data import load_data
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import CHECKPOINT, Run, find
from diptych.study import executors
from diptych.study.cluster import Ray
from diptych.study.executors import Local
from diptych.study.storage import Storage, share_data, take_home, train_there
from diptych.study.workers import Workers
from support import NEEDS_PROC, start

DENSE = {
    "name": "dense",
    "input_shape": [28, 28, 1],
    "layers": [{"kind": "flatten"}, {"kind": "dense", "units": 10}],
}


def new_run(root: Path, digits: Path, seed: int, epochs: int = 2) -> Run:
    recipe = Recipe.load("plain").with_changes(epochs=epochs)
    return Run.create(root, Network.from_dict(DENSE), recipe, "numpy", load_data(digits), seed)


def same(run: Run, other: Run) -> bool:
    mine, theirs = run.weights(), other.weights()
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_as_many_at_once_as_cores_and_memory_allow(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [new_run(tmp_path, digits, seed) for seed in range(9)]
    gib = 2**30
    for cores, free, expected in ((4, 64 * gib, 4), (16, 64 * gib, 9), (4, int(2.5 * gib), 2)):
        monkeypatch.setattr(machine, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(machine, "free_memory", lambda free=free: free)
        assert executors.room(runs) == expected
    monkeypatch.setattr(machine, "free_memory", lambda: gib // 2)
    assert executors.room(runs) == 1
    monkeypatch.setattr(machine, "free_memory", lambda: None)
    assert executors.room(runs) == 4


def test_runs_of_kept_processes_are_those_of_clean_ones(digits: Path, tmp_path: Path) -> None:
    ended: list[str] = []
    clean = [new_run(tmp_path / "clean", digits, seed) for seed in range(3)]
    kept = [new_run(tmp_path / "kept", digits, seed) for seed in range(3)]
    Local(1).carry_out(clean, lambda run: ended.append(run.name))
    Local(2).carry_out(kept, lambda run: ended.append(run.name))
    assert sorted(ended) == sorted(run.name for run in [*clean, *kept])
    assert all(same(run, other) for run, other in zip(kept, clean, strict=True))


def test_a_worker_that_has_failed_is_replaced(digits: Path, tmp_path: Path) -> None:
    wrong, right = (new_run(tmp_path, digits, seed) for seed in range(2))
    description = wrong.description()
    description["data"]["fingerprint"] = "0" * 16
    (wrong.folder / "run.json").write_text(json.dumps(description))
    with Workers(1) as workers:
        with pytest.raises(InputError, match="changed since"):
            workers.carry_out(wrong)
        workers.carry_out(right)
    assert right.status == "done"


@NEEDS_PROC
def test_ctrl_c_stops_all_and_the_study_goes_on(digits: Path, tmp_path: Path) -> None:
    study = tmp_path / "rate.toml"
    study.write_text(
        f"question = 'Is a higher rate better?'\nseeds = 3\nanswer.kind = 'higher'\n"
        f"base = {{ workflow = 'numpy', data = '{digits}', recipe = 'plain', values.epochs = 500,"
        " layers = [{ kind = 'flatten' }, { kind = 'dense', units = 10 }] }\n"
        "[arms]\nfast = { values.learning_rate = 0.01 }\nslow = { values.learning_rate = 0.001 }\n"
    )
    process = start("study", "run", study, "--runs", tmp_path / "runs", "--at-once", "2")
    until = time.monotonic() + 300
    while len(list(tmp_path.glob(f"runs/*/{CHECKPOINT}"))) < 2:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    states = sorted(run.status for run in find(tmp_path / "runs"))
    assert states == ["new"] * 4 + ["stopped"] * 2


def test_storage_keeps_what_it_is_given(digits: Path, tmp_path: Path) -> None:
    """A run goes on in another folder from what the storage has, also after half a copy."""
    run, whole = (new_run(tmp_path / name, digits, 1, epochs=4) for name in ("runs", "whole"))
    Local(1).carry_out([whole], lambda _: None)
    storage = Storage(str(tmp_path / "storage"))
    storage.check()
    assert not list((tmp_path / "storage").iterdir())
    share_data(storage, run)
    description = run.description()
    moved = tmp_path / "away"
    shutil.move(digits, moved)  # Machines have the data by the storage alone.

    def lost(there: Run, report: Any) -> None:
        def told(event: Any) -> None:
            report(event)
            if type(event).__name__ == "EpochEnded" and event.measured.epoch == 2:
                raise ConnectionError

        with Workers(1) as workers:
            workers.carry_out(there, told)

    try:
        with pytest.raises(ConnectionError):
            train_there(storage, run.folder.name, description, lost)
        there = tmp_path / "storage" / run.folder.name
        assert (there / CHECKPOINT).is_file() and not (there / "result.json").exists()
        assert not list(there.rglob("*.partial"))
        with Workers(1) as workers:
            train_there(storage, run.folder.name, description, workers.carry_out)
        take_home(storage, run)
    finally:
        shutil.move(moved, digits)
    assert run.status == "done" and run.description()["data"] == description["data"]
    assert same(run, whole)
    again = new_run(tmp_path / "runs", digits, 1, epochs=4)
    there = tmp_path / "storage" / again.folder.name
    shutil.copytree(tmp_path / "storage" / run.folder.name, there)
    (there / CHECKPOINT).write_bytes(b"half")
    stale = json.loads((there / "run.json").read_text()) | {"status": "running"}
    (there / "run.json").write_text(json.dumps(stale))
    with Workers(1) as workers:
        train_there(storage, again.folder.name, again.description(), workers.carry_out)
    take_home(storage, again)
    assert same(again, whole)


def test_a_cluster_of_one_machine_with_storage(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ended: list[Run] = []
    here = [new_run(tmp_path / "here", digits, seed) for seed in range(3)]
    there = [new_run(tmp_path / "there", digits, seed) for seed in range(3)]
    Local(1).carry_out(here, lambda _: None)
    Ray("local", storage=str(tmp_path / "storage")).carry_out(there, ended.append)
    assert {run.folder for run in ended} == {run.folder for run in there}
    assert all(same(run, other) for run, other in zip(there, here, strict=True))


def test_a_dashboard_that_is_not_installed_is_one_line(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    if importlib.util.find_spec("aiohttp") is None:
        run = new_run(tmp_path, digits, 0)
        with pytest.raises(InputError, match=r"--dashboard: .*ray\[default\]"):
            Ray("local", dashboard=lambda _: None).carry_out([run], lambda _: None)
    else:
        shown: list[str] = []
        Ray("local", dashboard=shown.append).carry_out(
            [new_run(tmp_path, digits, 0)], lambda _: None
        )
        assert shown[0].startswith("http://")
