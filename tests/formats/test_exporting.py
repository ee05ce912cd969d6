"""Every exported file, opened by its own tool, computes what the run does."""

import importlib.util
import json
import shutil
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rounding
from networks import lively_weights, network_named
from safetensors import safe_open
from written import content_of, format_module, written

from diptych import cli, extras
from diptych.data import Data
from diptych.data.batches import to_float
from diptych.errors import InputError
from diptych.formats import exporting, registry
from diptych.formats.archives import EMBEDDED
from diptych.formats.registry import FORMATS
from diptych.runs import Run

COMPUTING = [name for name, each in FORMATS.items() if each.computes]
# Between them every layer, every activation, and padding on one side more than on the other.
NETWORKS = (("geometry", False), ("normalised", True), ("leaky", False))
IMAGES = 4


@cache
def expected(name: str) -> rounding.Bounded:
    """The logits in float64, and how far float32 may be from them."""
    network = network_named(name)
    return rounding.logits_bounds(network, lively_weights(network), digits(), 8)


@cache
def digits() -> np.ndarray:
    from diptych import load_data

    return load_data("mnist").test.images[:IMAGES]


@pytest.mark.parametrize("name, uint8_input", NETWORKS)
@pytest.mark.parametrize("to", COMPUTING)
def test_every_layer_is_the_references_in_every_format(
    to: str, name: str, uint8_input: bool, tmp_path: Path
) -> None:
    module = format_module(to)
    path = written(to, tmp_path, content_of(network_named(name), uint8_input=uint8_input))
    images = digits() if uint8_input else to_float(digits())
    exact, bound = expected(name)["logits"]
    assert (np.abs(module.logits(path, images) - exact) <= bound).all()


# Exports of a run that reads digits.

RUNS = [(to, False) for to in FORMATS] + [(to, True) for to, each in FORMATS.items() if each.int8]


@pytest.fixture(scope="module")
def exported(tensorflow_reader: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes the run in a format, once, as the worker's process does; gives the file and answer."""

    @cache
    def export(to: str, int8: bool) -> tuple[Path, dict[str, Any]]:
        format_module(to)
        data, _ = exporting._data(tensorflow_reader)
        assert data is not None
        file = tmp_path_factory.mktemp("out") / f"reader{FORMATS[to].suffix}"
        about = exporting.about_run(tensorflow_reader, data, int8, False, to)
        parameters = {"run": str(tensorflow_reader.folder), "to": to, "file": str(file)}
        parameters |= {"about": about, "data": data.source, "check": 1000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer, _ = exporting.write_job(parameters, {}, lambda _: None, None)
        return file, answer

    return export


@pytest.mark.parametrize("to, int8", RUNS)
def test_reads_the_whole_test_set_as_the_run_does(to: str, int8: bool, exported: Any) -> None:
    file, answer = exported(to, int8)
    if not FORMATS[to].computes:
        assert answer["check"] is None
        return
    check = exporting.Check(**answer["check"])
    assert check.images == 1000 and check.run_correct > 900
    if int8:
        assert check.correct >= check.run_correct - 3 and check.different <= 10
        whole = exporting._size(exported(to, False)[0])
        assert exporting._size(file) <= whole / 4 + 12_000  # Scales, biases and what it says.
    else:
        assert check.different == 0 and check.correct == check.run_correct
        assert check.logits <= 1e-5 * check.span


@pytest.mark.parametrize("to", COMPUTING)
def test_the_example_of_the_card_runs(to: str, exported: Any, mnist: Data) -> None:
    file, answer = exported(to, False)
    images = to_float(mnist.test.images[:3])
    names: dict[str, Any] = {"images": images}
    exec(answer["example"].format(file=file), names)
    assert np.allclose(names["logits"], registry.load(to).logits(file, images), atol=1e-5)


@pytest.mark.parametrize("to", FORMATS)
def test_says_what_it_is(to: str, exported: Any, tensorflow_reader: Run) -> None:
    file, _ = exported(to, False)
    match to:
        case "keras" | "litert":
            said = zipfile.ZipFile(file).read(EMBEDDED)
        case "savedmodel":
            said = (file / "assets.extra" / EMBEDDED).read_bytes()
        case "onnx":
            import onnx

            said = {each.key: each.value for each in onnx.load(file).metadata_props}["diptych"]
        case "torch":
            import torch

            extra = {EMBEDDED: ""}
            torch.export.load(file, extra_files=extra)
            said = extra[EMBEDDED]
        case _:
            with safe_open(file, framework="numpy") as opened:
                said = opened.metadata()["diptych"]
    about, result = json.loads(said), tensorflow_reader.result() or {}
    assert about["network"] == tensorflow_reader.network.to_dict()
    assert about["class_names"] == list("0123456789")
    assert about["test"]["accuracy"] == result["test_accuracy"]
    assert about["test"]["interval"][0] < result["test_accuracy"] < about["test"]["interval"][1]
    assert "licence" in about and about["recipe"]["name"] == "two"


def test_a_keras_file_goes_on_training(exported: Any, mnist: Data) -> None:
    import keras

    file, _ = exported("keras", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model: Any = keras.saving.load_model(file, safe_mode=True)
    x, y = to_float(mnist.test.images[:200]), mnist.test.labels[:200]
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert loss < 0.5 and accuracy > 0.9
    keras.utils.set_random_seed(0)
    model.fit(x, y, batch_size=50, epochs=2, verbose=0)
    assert model.evaluate(x, y, verbose=0)[0] < loss


def test_pytorchs_module_is_the_program(exported: Any, mnist: Data) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    file, _ = exported("torch", False)
    spec = importlib.util.spec_from_file_location("reader", file.with_suffix(".py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load(file.with_suffix(".pt"))
    images = to_float(mnist.test.images[:50])
    with torch.no_grad():
        found = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.allclose(found, registry.load("torch").logits(file, images), atol=1e-5)


def test_layers_that_are_named_like_pytorchs_methods() -> None:
    torch = format_module("torch")
    assert torch.module_name("train") == "train_" and torch.module_name("class") == "class"


# The command.


def run_command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([*map(str, arguments)])
    return int(str(ended.value.code))


@pytest.fixture
def digit_reader(reader: Run, tmp_path: Path) -> Run:
    """A copy, to be damaged."""
    return Run(Path(shutil.copytree(reader.folder, tmp_path / "digits")))


def test_the_command_writes_a_file_and_its_card(
    reader: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    format_module("onnx")
    out = tmp_path / "made" / "reader.onnx"
    command = ["export", reader.folder, "--to", "onnx", "--out", out]
    assert run_command(*command, "--int8", "--uint8-input", "--json", "-") == 0
    told = json.loads(capfd.readouterr().out)
    assert told["schema"] == 1 and told["check"]["images"] == 1000 and told["int8"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["reader.onnx", "reader.onnx.md"]
    text = (out.parent / "reader.onnx.md").read_text()
    for part in (
        "int8",
        "uint8 (n, 28, 28, 1)",
        "95% interval",
        "recipe two",
        "import onnxruntime",
    ):
        assert part in text

    assert run_command(*command) == 2
    assert "it is there already; --force replaces it" in capfd.readouterr().err
    before = out.read_bytes()
    assert run_command(*command, "--force", "--check", "0") == 0
    assert "Not checked: not asked for" in capfd.readouterr().out
    assert out.read_bytes() != before


def test_a_file_that_computes_something_else_is_not_kept(
    digit_reader: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    format_module("onnx")
    logits, labels = digit_reader.predictions()
    logits[0, 0] += 0.01
    digit_reader.save_predictions(logits, labels)
    out = tmp_path / "out" / "reader.onnx"
    assert run_command("export", digit_reader.folder, "--to", "onnx", "--out", out) == 1
    assert "computes other logits than the run" in capfd.readouterr().err
    assert list(out.parent.iterdir()) == []


def test_data_that_are_gone_are_not_needed(digit_reader: Run, tmp_path: Path) -> None:
    run_json = digit_reader.folder / "run.json"
    text = json.loads(run_json.read_text())
    text["data"]["source"] = str(tmp_path / "gone")
    run_json.write_text(json.dumps(text))
    made = exporting.export(digit_reader, "safetensors", tmp_path / "x.safetensors")
    assert made.check is None and "its data cannot be read" in made.unchecked
    if not importlib.util.find_spec("onnx"):
        return
    with pytest.raises(InputError, match="int8 is fitted to the training images"):
        exporting.export(digit_reader, "onnx", tmp_path / "x.onnx", int8=True)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--to", "kera"], "no such format (did you mean keras?)"),
        (["--to", "keras", "--int8"], "expected onnx or litert"),
        (["--to", "safetensors", "--uint8-input"], "computes nothing"),
        (["--to", "keras", "--check", "-1"], "check -1"),
        (["--to", "keras", "--out", "model.h5"], "ends in .keras"),
        (["--to", "savedmodel", "--out", "{folder}/mine.savedmodel"], "holds no SavedModel"),
        (["--to", "keras", "--out", "{folder}/file/x.keras"], "file"),
        ([], "Missing option"),
    ],
)
def test_what_cannot_be_exported(
    arguments: list[str], said: str, reader: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.savedmodel").mkdir()
    (tmp_path / "mine.savedmodel" / "precious.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    given = [each.format(folder=tmp_path) for each in arguments]
    assert run_command("export", reader.folder, "--force", *given) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    assert (tmp_path / "mine.savedmodel" / "precious.txt").exists()


def test_a_savedmodel_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "x.savedmodel"
    for number in range(2):
        with exporting._aside(out) as folder:
            (folder / out.name).mkdir()
            (folder / out.name / f"{number}").write_text("")
            exporting._put(folder, out, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.savedmodel"]
    assert [path.name for path in out.iterdir()] == ["1"]


def test_an_extra_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"torch needs torch, .* `pip install .*\[torch\]'`"):
        registry.check_format("torch")
