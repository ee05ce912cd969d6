"""Event files, read back with TensorBoard's own reader."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych import cli, training
from diptych.comparison import compare_runs
from diptych.data import load_data
from diptych.runs import Run
from diptych.tensorboard import SCALARS, Events, histogram
from support import diptych

reader_module = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard"
)

TRAIN = """
import sys
from pathlib import Path
from diptych import Network, Recipe, training
from diptych.tensorboard import Events
assert __name__ == "__main__"
network, data, runs = sys.argv[1:]
recipe = Recipe(name="quick", epochs=2, batch_size=30, learning_rate=0.01)
run = training.train("numpy", network, recipe, data, runs=runs, tensorboard=True, report=print)
with Events(run):  # reads what is there already
    pass
loaded = [name for name in ("tensorflow", "keras", "torch", "jax") if name in sys.modules]
assert not loaded, loaded
"""


def read(run: Run):
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    events = reader_module.EventAccumulator(str(run.folder / "tensorboard"), everything)
    return events.Reload()


@pytest.fixture(scope="module")
def trained(small_toml: Path, few_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trained with event files by a process that loads no framework."""
    runs = tmp_path_factory.mktemp("tensorboard")
    command = [sys.executable, "-c", TRAIN, small_toml, few_digits, runs]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    [folder] = runs.iterdir()
    return Run(folder)


def test_scalars_are_the_runs_metrics(trained: Run) -> None:
    events = read(trained)
    assert set(events.Tags()["scalars"]) == {*SCALARS, "accuracy/test"}
    for tag, key in SCALARS.items():
        found = [(one.step, one.value) for one in events.Scalars(tag)]
        expected = [(epoch["epoch"], np.float32(epoch[key])) for epoch in trained.metrics()]
        assert found == expected
    [test] = events.Scalars("accuracy/test")
    assert test.value == np.float32((trained.result() or {})["test_accuracy"])


def test_histograms_are_of_every_weight_after_each_epoch(trained: Run) -> None:
    events, weights = read(trained), trained.weights()
    assert set(events.Tags()["histograms"]) == set(weights)
    for name, values in weights.items():
        found = events.Histograms(name)
        assert [one.step for one in found] == [1, 2]
        last = found[-1].histogram_value
        assert (last.num, last.min, last.max) == (values.size, values.min(), values.max())
        assert last.sum == pytest.approx(values.sum(dtype=np.float64))
        assert sum(last.bucket) == values.size
        counts, _ = np.histogram(values.astype(np.float64), len(last.bucket))
        assert list(last.bucket) == counts.tolist()


def test_the_graph_is_the_networks(trained: Run) -> None:
    nodes = {node.name: node for node in read(trained).Graph().node}
    assert nodes["conv_1/conv"].input == ["input", "conv_1/kernel", "conv_1/bias"]
    assert nodes["max_pool_1/max_pool"].input == ["conv_1/conv"]
    shapes = {layer.name: after for layer, _, after in trained.network.steps()}
    for layer in trained.network.layers:
        [shape] = nodes[f"{layer.name}/{layer.kind}"].attr["_output_shapes"].list.shape
        assert [dim.size for dim in shape.dim] == [-1, *shapes[layer.name]]
    assert nodes["conv_1/conv"].attr["activation"].s == b"relu"


def test_images_are_the_misread_ones(trained: Run) -> None:
    events, (logits, labels) = read(trained), trained.predictions()
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)[:40]
    images = load_data(trained.description()["data"]["source"]).test.images
    tags = events.Tags()["images"]
    assert len(tags) == len(wrong) > 0
    for number in wrong:
        tag = f"misread/{labels[number]} read as {logits[number].argmax()}, test image {number}"
        [found] = events.Images(tag)
        with Image.open(io.BytesIO(found.encoded_image_string)) as image:
            assert np.array_equal(np.asarray(image), images[number, ..., 0])
        assert (found.width, found.height) == (28, 28)


def test_what_a_killed_process_had_not_written_is_written_once(new_run) -> None:
    run = training.carry_out(new_run(), report=lambda _: None)
    assert not (run.folder / "tensorboard").exists(), "nobody asked for it"
    for _ in range(2):
        with Events(run):
            pass
    assert [one.step for one in read(run).Scalars("loss/train")] == [1, 2]
    assert len(list((run.folder / "tensorboard").iterdir())) == 2


def test_a_record_cut_off_by_a_kill_hides_no_other(new_run) -> None:
    run = training.carry_out(new_run(), report=lambda _: None)
    with Events(run):
        pass
    [file] = (run.folder / "tensorboard").iterdir()
    whole = file.read_bytes()
    # Cut within the record of the second epoch, the last of the file.
    file.write_bytes(whole[: -len(whole[whole.rindex(b"loss/train") :]) + 20])
    with Events(run):
        pass
    assert [one.step for one in read(run).Scalars("loss/train")] == [1, 2]


def test_a_run_that_has_ended_gets_them_from_its_folder(
    pair: dict[str, Run], tmp_path: Path
) -> None:
    runs = [Run(shutil.copytree(run.folder, tmp_path / name)) for name, run in pair.items()]
    for _ in range(2):  # The second time there is nothing to add.
        compare_runs(runs, runs=tmp_path / "compared", tensorboard=True)
        for run in runs:
            events = read(run)
            assert [one.step for one in events.Scalars("loss/train")] == [1, 2]
            assert [one.step for one in events.Histograms("conv_1/kernel")] == [2]
            assert len(list((run.folder / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("values", [[], [0.0], [np.nan, 1.0], [np.inf, -2.0, 2.0], [3.0] * 5])
def test_histograms_of_odd_arrays(values: list[float]) -> None:
    found = histogram(np.array(values, np.float32))
    json.dumps(found, allow_nan=False)
    assert sum(found["bucket"]) == found["num"]
    assert len(found["bucket"]) == len(found["bucket_limit"])
    assert found["bucket_limit"] == sorted(found["bucket_limit"])


def test_without_tensorboard_nothing_is_made(small_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorboard'] = None\n")
    path = f"{tmp_path}:{Path(cli.__file__).parents[2]}"
    for command in (["train", "numpy"], ["compare"]):
        arguments = [*command, "--network", small_toml, "--runs", tmp_path / "runs"]
        done = diptych(*arguments, "--tensorboard", PYTHONPATH=path)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert line.endswith("[tensorboard]'`")
        assert not (tmp_path / "runs").exists()
