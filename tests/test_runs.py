import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from safetensors.numpy import load_file

from diptych import training
from diptych.data import load_data
from diptych.data.fingerprint import fingerprint
from diptych.errors import InputError
from diptych.folders import new_folder
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.render.runs import run_table
from diptych.render.terminal import plain
from diptych.runs import Run, find
from diptych.whole_files import read_arrays, write_arrays, write_json
from diptych.workflows.progress import Epoch, Progress
from support import whole_files

MakeRun = Callable[..., Run]


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        action()
    return str(raised.value)


@pytest.fixture
def trained(tmp_path: Path, pair: dict[str, Run]) -> Run:
    """A copy of a finished run, to be damaged."""
    return Run(Path(shutil.copytree(pair["numpy"].folder, tmp_path / "trained")))


# What a folder holds.


def test_a_finished_run_holds_what_the_contract_says(
    pair: dict[str, Run], small: Network, quick: Recipe, few_digits: Path
) -> None:
    run = pair["numpy"]
    assert whole_files(run.folder) == [
        "checkpoint/state.safetensors",
        "metrics.jsonl",
        "predictions.safetensors",
        "result.json",
        "run.json",
        "weights.safetensors",
    ]
    description = json.loads((run.folder / "run.json").read_text())
    assert description["schema"] == 1
    assert description["status"] == "done"
    assert description["workflow"] == "numpy"
    assert description["seed"] == 0
    assert description["data"]["source"] == str(few_digits)
    assert Network.from_dict(description["network"]) == small == run.network
    assert Recipe.from_dict(description["recipe"]) == quick == run.recipe
    assert description["versions"]["numpy"] == np.__version__
    assert {"processor", "cores", "memory_gib", "python"} <= description["machine"].keys()
    assert [epoch["epoch"] for epoch in run.metrics()] == [1, 2]
    weights = run.weights()
    assert {name: value.shape for name, value in weights.items()} == small.weight_shapes()
    assert all(value.dtype == np.float32 for value in weights.values())
    logits, labels = run.predictions()
    assert (logits.shape, logits.dtype) == ((200, 10), np.float32)
    assert labels.tolist() == load_data(few_digits).test.labels.tolist()


def test_a_result_agrees_with_the_files_beside_it(pair: dict[str, Run]) -> None:
    for run in pair.values():
        logits, labels = run.predictions()
        result, metrics = run.result() or {}, run.metrics()
        assert result["schema"] == 1
        assert result["test_correct"] == int((logits.argmax(1) == labels).sum())
        assert result["test_accuracy"] == result["test_correct"] / result["test_images"]
        assert result["test_images"] == len(labels)
        assert result["validation_accuracy"] == metrics[-1]["validation_accuracy"]
        assert result["train_seconds"] == sum(epoch["train_seconds"] for epoch in metrics)
        assert result["images_per_second"] == pytest.approx(2 * 330 / result["train_seconds"])


def test_files_can_be_read_by_whoever_may_read_the_folder(trained: Run) -> None:
    modes = {path.stat().st_mode for path in trained.folder.iterdir() if path.is_file()}
    assert len(modes) == 1, "one file is more private than another"


def without_checksums(run: Run) -> None:
    """Makes it a run from before there were checksums."""
    description = run.description()
    del description["sha256"]
    write_json(run.folder / "run.json", description)


# Names of folders.


def test_a_new_run_never_takes_the_folder_of_another(new_run: MakeRun) -> None:
    names = [new_run().name for _ in range(3)]
    first = "numpy-small-quick-seed0"
    assert names == [first, f"{first}-2", f"{first}-3"]
    assert new_run(seed=7).name == "numpy-small-quick-seed7"


def test_a_name_with_a_slash_stays_below_the_runs(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(name="../../a recipe of/mine")
    assert run.folder.parent == tmp_path / "runs"
    assert run.name == "numpy-small-.._.._a_recipe_of_mine-seed0"


def test_runs_below_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        said = refused(lambda root=root: new_folder(root, "run"))
        assert said == f"runs folder {root}: a file is in its place, give another"
    assert refused(lambda: new_folder(tmp_path, "x" * 300))


# Whole files.


def test_a_crash_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", {"is": "old"})
    write_arrays(tmp_path / "a.safetensors", {"a": np.zeros(3)})

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(SystemExit):
            write_json(tmp_path / "a.json", {"is": "new"})
        with pytest.raises(SystemExit):
            write_arrays(tmp_path / "a.safetensors", {"a": np.ones(3)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"is": "old"}
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [0, 0, 0]
    assert len(list(tmp_path.glob(".*.partial"))) == 2


def test_leftovers_of_a_killed_process_are_removed(new_run: MakeRun) -> None:
    run = new_run(epochs=1)
    for place in ("", "checkpoint"):
        (run.folder / place).mkdir(exist_ok=True)
        (run.folder / place / ".weights.safetensors.123.partial").write_bytes(b"half")
    training.carry_out(run, lambda _: None)
    assert not list(run.folder.rglob("*.partial"))


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    code = (
        "import sys, itertools, numpy as np; from pathlib import Path\n"
        "from diptych.whole_files import write_arrays, write_json\n"
        "path = Path(sys.argv[1])\n"
        "for i in itertools.count(int(sys.argv[2])):\n"
        "    write_arrays(path, {'a': np.full(400_000, i)}, i=str(i))\n"
        "    write_json(path.with_suffix('.json'), [i] * 20_000)\n"
        "    print(i, flush=True)\n"
    )
    for number in range(4):  # Each writer is killed wherever it happens to be.
        command = [sys.executable, "-c", code, path, str(number * 10**6)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            try:
                assert writer.stdout
                assert writer.stdout.readline()
                seen: set[int] = set()
                until = time.monotonic() + 60
                while len(seen) < 5 + number:
                    assert time.monotonic() < until
                    array = read_arrays(path)["a"]
                    assert (array == array[0]).all()
                    numbers = json.loads(path.with_suffix(".json").read_text())
                    assert numbers == [numbers[0]] * 20_000
                    seen.add(numbers[0])
            finally:
                writer.send_signal(signal.SIGKILL)
        array = read_arrays(path)["a"]
        assert array.shape == (400_000,)
        assert (array == array[0]).all()
    names = {path.name.split(".")[-1] for path in tmp_path.iterdir()}
    assert names <= {"json", "safetensors", "partial"}


def test_arrays_of_every_shape_come_back(tmp_path: Path) -> None:
    arrays = {
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 5), np.float32),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "big-endian": np.arange(3, dtype=">i4"),
    }
    write_arrays(tmp_path / "a.safetensors", arrays)
    found = read_arrays(tmp_path / "a.safetensors")
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert found[name].dtype.kind == array.dtype.kind
        assert np.array_equal(found[name], array)


# Locks and states.


def hold(run: Run) -> subprocess.Popen[str]:
    """A process that trains the run, as far as anyone can see."""
    code = (
        "import sys, time; from pathlib import Path; from diptych.runs import Run\n"
        "run = Run(Path(sys.argv[1]))\n"
        "with run.locked():\n"
        "    run.set_status('running'); print('held', flush=True); time.sleep(100)\n"
    )
    command = [sys.executable, "-c", code, str(run.folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_only_one_process_trains_a_run(new_run: MakeRun) -> None:
    run = new_run()
    with hold(run) as holder:
        assert run.status_now == "running"
        assert run.is_training
        assert "another process is training it" in refused(
            lambda: training.carry_out(run, lambda _: None)
        )
        assert run.status == "running", "the one that was refused changed the run"
        holder.kill()
    assert run.status == "running"
    assert run.status_now == "killed"
    assert not run.is_training
    training.carry_out(run, lambda _: None)
    assert run.status_now == "done"


def test_looking_at_a_run_writes_nothing(trained: Run) -> None:
    trained.set_status("running")
    (trained.folder / ".lock").unlink()
    before = sorted(trained.folder.rglob("*"))
    assert trained.status_now == "killed"
    assert find(trained.folder.parent)[0].name == trained.name
    assert sorted(trained.folder.rglob("*")) == before


# Damage.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ('{"schema": 1', "not JSON"),
        ("[1, 2]", "expected a JSON object"),
        ("{}", "schema None, expected 1"),
        ('{"schema": 2}', "schema 2, expected 1"),
        ('{"schema": 1}', "status is missing"),
        ("\xff\xfe", "not JSON"),
    ],
)
def test_a_description_that_cannot_be_read(trained: Run, text: str, said: str) -> None:
    (trained.folder / "run.json").write_bytes(text.encode("latin-1"))
    answer = refused(lambda: Run.open(trained.folder))
    assert said in answer
    assert "run.json" in answer
    assert find(trained.folder.parent) == []


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})


@given(st.data())
@limits(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_a_changed_description_is_told_or_read(
    trained: Run, pair: dict[str, Run], data: st.DataObject
) -> None:
    description = pair["numpy"].description()
    part = description
    if data.draw(st.booleans()):
        part = part[data.draw(st.sampled_from(["data", "network", "recipe"]))]
    key = data.draw(st.sampled_from(sorted(part)))
    if data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(JSON)
    (trained.folder / "run.json").write_text(json.dumps(description))
    try:
        Run.open(trained.folder)
    except InputError as problem:
        assert "\n" not in str(problem)
        assert find(trained.folder.parent) == []
    else:
        assert plain(run_table(find(trained.folder.parent))).count("\n") == 1


@pytest.mark.parametrize("name", ["weights", "predictions", "checkpoint/state"])
def test_damaged_arrays(trained: Run, name: str) -> None:
    path = trained.folder / f"{name}.safetensors"
    readers: dict[str, Callable[[], Any]] = {
        "weights": trained.weights,
        "predictions": trained.predictions,
        "checkpoint/state": trained.load_checkpoint,
    }
    read = readers[name]
    contents = path.read_bytes()
    for damaged in (b"", contents[:4], contents[: len(contents) // 2], b"\xff" * len(contents)):
        path.write_bytes(damaged)
        assert "damaged or replaced" in refused(read)
    without_checksums(trained)
    for damaged in (b"", contents[:4], contents[: len(contents) // 2], b"\xff" * len(contents)):
        path.write_bytes(damaged)
        assert "not a safetensors file" in refused(read)


def test_weights_and_predictions_of_another_network(trained: Run) -> None:
    trained.save_weights({"dense/kernel": np.zeros(3)})
    assert "is missing" in refused(trained.weights)
    trained.save_predictions(np.zeros((5, 10)), np.zeros(4))
    assert "predictions.safetensors" in refused(trained.predictions)


def test_a_checkpoint_without_its_progress(trained: Run) -> None:
    path = trained.folder / "checkpoint" / "state.safetensors"
    arrays = read_arrays(path)
    without_checksums(trained)
    for metadata in ({}, {"progress": "{}"}, {"progress": "[]"}, {"progress": '{"a": 1}'}):
        write_arrays(path, arrays, **metadata)
        assert "progress is missing or damaged" in refused(trained.load_checkpoint)


@pytest.mark.parametrize("text", ["{}\n", "1\n", '{"epoch": 1\n', "\xff\n"])
def test_damaged_metrics(trained: Run, text: str) -> None:
    (trained.folder / "metrics.jsonl").write_bytes(text.encode("latin-1"))
    assert "metrics.jsonl" in refused(trained.metrics)
    assert find(trained.folder.parent) == []


@pytest.mark.parametrize("text", ["{}", "[]", '{"test_accuracy": "good"}', "{"])
def test_a_damaged_result(trained: Run, text: str) -> None:
    (trained.folder / "result.json").write_text(text)
    assert "result.json" in refused(trained.result)
    assert find(trained.folder.parent) == []


# Finding and resuming.


def test_runs_are_found_oldest_first_and_damaged_ones_named(
    tmp_path: Path, new_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [new_run(seed=seed) for seed in (3, 1, 2)]
    for run, year in zip(runs, (2003, 2001, 2002), strict=True):
        created = {"created": f"{year}-01-01T00:00:00+00:00"}
        write_json(run.folder / "run.json", run.description() | created)
    (tmp_path / "runs" / "comparison-numpy").mkdir()
    damaged = new_run()
    (damaged.folder / "run.json").write_text("{")
    assert [run.seed for run in find(tmp_path / "runs")] == [1, 2, 3]
    [said] = caplog.messages
    assert said == f"left out: {damaged.folder}/run.json: not JSON; the file is damaged"
    assert find(tmp_path / "nowhere") == []


def test_a_run_is_opened_by_folder_or_by_name(
    tmp_path: Path, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    monkeypatch.chdir(tmp_path)
    for given_as in (run.folder, run.name, f"runs/{run.name}"):
        assert Run.open(given_as).description() == run.description()
    assert Run.open(run.name, tmp_path / "runs").folder == run.folder


@pytest.mark.parametrize("name", ["nowhere", "", "..", "x" * 5000, "a\0b"])
def test_a_run_that_is_not_there(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: Run.open(name)).startswith("run ")


def test_a_fingerprint_changes_with_labels_and_images(
    tmp_path: Path, few_digits: Path, new_run: MakeRun
) -> None:
    for name, at in (
        ("train-images-idx3-ubyte", 16 + 30 * 784 + 400),
        ("train-images-idx3-ubyte", 16 + 77 * 784 + 3),
        ("t10k-images-idx3-ubyte", 16 + 199 * 784 + 783),
        ("t10k-labels-idx1-ubyte", 8),
    ):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        folder = Path(shutil.copytree(few_digits, tmp_path / name / "few"))
        before = fingerprint(load_data(folder))
        contents = bytearray((folder / name).read_bytes())
        contents[at] = 1 if contents[at] != 1 else 2
        (folder / name).write_bytes(contents)
        assert fingerprint(load_data(folder)) != before


def test_a_run_is_not_resumed_with_other_data(
    tmp_path: Path, few_digits: Path, small: Network, quick: Recipe
) -> None:
    folder = Path(shutil.copytree(few_digits, tmp_path / "few"))
    run = training.create("numpy", small, quick, str(folder), runs=tmp_path / "runs")
    run.set_status("stopped")
    labels = folder / "train-labels-idx1-ubyte"
    contents = bytearray(labels.read_bytes())
    contents[100] = (contents[100] + 1) % 10
    labels.write_bytes(contents)
    assert "changed since the run was started" in refused(lambda: training.resume(run))
    labels.unlink()
    assert "few" in refused(lambda: training.resume(run))
    assert run.status == "stopped", "it can be resumed once the data are back"
    assert run.metrics() == []


def test_progress_survives_its_checkpoint(new_run: MakeRun) -> None:
    run = new_run()
    assert run.load_checkpoint() == (Progress(), None)
    epoch = Epoch(1, 0.1, 0.9, 1 / 3, 0.8, 2e-30, 0.7, 1.5, 0.25)
    progress = Progress(1, 7, 0.5, 1e10, 3.0, 21, 0.1, 1.0, [epoch], 1, float("inf"), 2)
    run.save_checkpoint(progress, {"a": np.array([1 / 3])})
    found, state = run.load_checkpoint()
    assert found == progress
    assert state
    assert state["a"].tolist() == [1 / 3]
