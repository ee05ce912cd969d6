"""What comes in from a file is what the file's own tool computes; what is not known is named."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network_named
from written import content_of, format_module, same_weights, written

from diptych import cli, comparison, evaluate, import_file
from diptych.data import Data
from diptych.data.batches import to_float
from diptych.errors import InputError
from diptych.formats import exporting
from diptych.formats.protocol import StoredNetwork
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.workflows import registry


@pytest.mark.parametrize("to", ["keras", "onnx", "safetensors"])
@pytest.mark.parametrize("name", ["geometry", "normalised", "leaky"])
def test_out_and_in_is_the_same_bit_for_bit(to: str, name: str, tmp_path: Path) -> None:
    network = Network.load(name) if name == "leaky" else network_named(name)
    content = content_of(network, uint8_input=to != "safetensors" and name == "geometry")
    found = format_module(to).read(written(to, tmp_path, content))
    assert found.network == network
    assert same_weights(found.weights, content.weights)
    assert found.about["seed"] == 3


def test_a_file_that_says_another_network_than_it_holds_is_taken_by_what_it_holds(
    tmp_path: Path,
) -> None:
    content = content_of(network_named("geometry"))
    said = json.loads(json.dumps(content.about))
    said["network"]["layers"][0]["activation"] = "relu"
    content.about.update(said)
    for to in ("keras", "onnx"):
        found = format_module(to).read(written(to, tmp_path, content))
        assert found.network.layers[0].activation == "elu"


def logits(found: StoredNetwork, images: np.ndarray) -> np.ndarray:
    workflow = registry.load("numpy")(found.network, Recipe(), 0)
    workflow.load(found.weights)
    return workflow.logits(images)


def probabilities(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def shaken(model: Any) -> None:
    """Gives each weight of a Keras model some other value."""
    chance = np.random.default_rng(0)
    model.set_weights(
        [value + chance.uniform(0, 0.1, value.shape) for value in model.get_weights()]
    )


def test_a_keras_model_as_people_write_it(tmp_path: Path, mnist: Data) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    inputs = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(6, 3, padding="same", strides=2, use_bias=False, name="0-first")(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.ReLU(negative_slope=0.25)(x)
    x = layers.Conv2D(4, 3, activation=layers.LeakyReLU(negative_slope=0.3))(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Dropout(0.4)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(8, activation="leaky_relu")(x)
    x = layers.Dense(8)(x)
    x = layers.ELU()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    shaken(model)
    path = tmp_path / "people's.keras"
    model.save(path)
    found = format_module("keras").read(path)
    images = mnist.test.images[:20]
    expected = model.predict(images.astype(np.float32), verbose=0)
    assert np.allclose(probabilities(logits(found, images)), expected, atol=1e-5)
    assert [layer.kind for layer in found.network.layers].count("dropout") == 1
    assert found.network.layers[0].name == "layer_0_first"


def test_an_onnx_file_of_pytorchs(tmp_path: Path, mnist: Data) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    module = format_module("onnx")
    nn = torch.nn
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2),
        nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 3, 3, stride=2), nn.LeakyReLU(0.2), nn.Dropout(),
        nn.Flatten(), nn.BatchNorm1d(3 * 7 * 7), nn.Linear(3 * 7 * 7, 12), nn.Tanh(),
        nn.Linear(12, 10), nn.LogSoftmax(1),
    )  # fmt: skip
    network(torch.rand(32, 1, 28, 28))  # Moves the averages.
    path = tmp_path / "torch.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.eval(), (torch.zeros(1, 1, 28, 28),), str(path), dynamo=False,
                opset_version=17, dynamic_axes={"x": {0: "n"}}, input_names=["x"],
                do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
            )  # fmt: skip
    except Exception as problem:
        pytest.skip(f"PyTorch does not export here: {problem}")
    found = module.read(path)
    images = mnist.test.images[:20]
    with torch.no_grad():
        given = torch.from_numpy(to_float(images).transpose(0, 3, 1, 2).copy())
        expected = network(given).numpy()
    assert np.allclose(probabilities(logits(found, images)), np.exp(expected), atol=1e-5)


def keras_unknown(layers: Any) -> dict[str, tuple[list[Any], str]]:
    def end() -> list[Any]:
        return [layers.Flatten(), layers.Dense(10)]

    return {
        "layer": ([layers.GlobalMaxPooling2D(), layers.Dense(10)], "GlobalMaxPooling2D"),
        "dilation": ([layers.Conv2D(2, 3, dilation_rate=2), *end()], "dilation_rate = "),
        "activation": ([layers.Conv2D(2, 3, activation="sigmoid"), *end()], "activation sigmoid"),
        "cut": ([layers.ReLU(max_value=6), *end()], "max_value = 6"),
        "scaled": ([layers.Rescaling(1 / 127.5, -1), *end()], "expected 1/255 and 0"),
        "nested": ([layers.Flatten(), layers.Dense(10, name="a")], ""),
        "inside": ([layers.Flatten(), layers.Dense(10, "softmax"), layers.Dense(10)], "softmax"),
        "no flatten": ([layers.Dense(10)], "put a flatten layer before it"),
    }


def test_what_keras_has_and_a_network_has_not(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    module = format_module("keras")
    for name, (layers, said) in keras_unknown(keras.layers).items():
        model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
        if name == "nested":
            model, said = keras.Sequential([keras.Input((28, 28, 1)), model]), "Sequential"
        model.save(tmp_path / "x.keras")
        with pytest.raises(InputError, match=r"x\.keras") as refused:
            module.read(tmp_path / "x.keras")
        assert said in str(refused.value), name


def test_a_branch_in_keras(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(inputs)
    both = [keras.layers.Dense(10, name=name)(x) for name in ("left", "right")]
    keras.Model(inputs, keras.layers.Add()(both)).save(tmp_path / "x.keras")
    with pytest.raises(InputError, match=r"layer right takes flatten.*one layer after the other"):
        format_module("keras").read(tmp_path / "x.keras")


@pytest.mark.parametrize(
    "nodes, said",
    [
        ([("Sigmoid", ["x"], {})], "operator Sigmoid"),
        ([("Conv", ["x", "w"], {"dilations": [2, 2]})], "dilation"),
        ([("Conv", ["x", "w"], {"pads": [2, 2, 2, 2]})], "conv.*padding"),
        ([("Mul", ["x", "half"], {})], "rescale"),
    ],
)
def test_what_onnx_has_and_a_network_has_not(nodes: list[Any], said: str, tmp_path: Path) -> None:
    module = format_module("onnx")
    from onnx import TensorProto, helper, numpy_helper, save_model

    made, x = [], "x"
    for number, (kind, inputs, attributes) in enumerate(nodes):
        made.append(helper.make_node(kind, inputs, [f"y{number}"], **attributes))
        x = f"y{number}"
    size = {"Conv": 24 if "dilations" in nodes[0][2] else 30}.get(nodes[0][0], 28)
    channels = 2 if nodes[0][0] == "Conv" else 1
    weights = {
        "w": np.ones((2, 1, 3, 3), np.float32),
        "half": np.float32(0.5),
        "d": np.ones((channels * size * size, 10), np.float32),
    }
    made += [
        helper.make_node("Flatten", [x], ["flat"]),
        helper.make_node("MatMul", ["flat", "d"], ["o"]),
    ]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    path = tmp_path / "x.onnx"
    opsets = [helper.make_opsetid("", 17)]
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    with pytest.raises(InputError, match=said):
        module.read(path)


# A whole import.


@pytest.fixture(scope="module")
def imported(reader: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """The reader's run, out as safetensors and in again; and the file."""
    folder = tmp_path_factory.mktemp("imported")
    file = folder / "reader.safetensors"
    exporting.export(reader, "safetensors", file)
    source = reader.description()["data"]["source"]
    return import_file(file, data=source, runs=folder / "runs"), file


def test_becomes_a_finished_run(imported: tuple[Run, Path], reader: Run) -> None:
    run, file = imported
    run.check()
    assert run.status == "done" and run.workflow == "numpy" and run.metrics() == []
    assert run.name == "numpy-reader-imported"
    assert [path.name for path in run.folder.parent.iterdir()] == [run.name]
    assert run.description()["imported"]["file"] == file.name
    assert same_weights(run.weights(), reader.weights()) and run.network == reader.network
    assert (run.recipe, run.seed) == (reader.recipe, reader.seed)
    result, expected = run.result() or {}, reader.result() or {}
    assert result["test_correct"] == expected["test_correct"]
    assert result["validation_accuracy"] == pytest.approx(expected["validation_accuracy"])
    assert evaluate(run).correct == expected["test_correct"]


def test_is_compared_but_for_its_training(
    imported: tuple[Run, Path], tensorflow_reader: Run
) -> None:
    run, _ = imported
    result = comparison.compare_runs([run, tensorflow_reader], runs=run.folder.parent)
    of_import, trained = result.sides
    assert of_import.training is None and trained.training is not None
    assert of_import.test_accuracy == (run.result() or {})["test_accuracy"]


@pytest.mark.parametrize(
    "values, said",
    [
        ({"data": "fashion"}, "no data set"),
        ({"workflow": "cafe"}, "no such workflow"),
        ({"network": "article"}, "article"),
        ({"network": "nosuch"}, "nosuch"),
    ],
)
def test_what_does_not_fit(
    values: dict[str, Any], said: str, imported: tuple[Run, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        import_file(imported[1], runs=tmp_path / "runs", **values)
    assert not (tmp_path / "runs").exists()


def test_weights_alone_need_a_network(tmp_path: Path, reader: Run) -> None:
    safetensors = format_module("safetensors")
    path = reader.folder / "weights.safetensors"
    with pytest.raises(InputError, match="give --network"):
        safetensors.read(path)
    assert same_weights(safetensors.read(path, reader.network).weights, reader.weights())


def test_the_command_takes_weights_alone_with_their_network(
    reader: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layers = (
        "{"
        + ", ".join(f"{key} = {json.dumps(value)}" for key, value in layer.items() if value)
        + "}"
        for layer in reader.network.to_dict()["layers"]
    )
    network, runs = tmp_path / "reader.toml", tmp_path / "runs"
    network.write_text(f"input_shape = [28, 28, 1]\nlayers = [{', '.join(layers)}]\n")
    given = [str(reader.folder / "weights.safetensors"), "--network", str(network)]
    given += ["--workflow", "numpy", "--data", reader.description()["data"]["source"]]
    with pytest.raises(SystemExit) as ended:
        cli.main(["import", *given, "--runs", str(runs)])
    result = reader.result() or {}
    assert ended.value.code == 0
    assert f"{100 * result['test_accuracy']:.2f}%" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["runs", "--runs", str(runs)])
    # Nothing of its training is known here, so no epoch is shown as missing.
    assert capfd.readouterr().out.splitlines()[1].split()[1:] == [
        "–",
        "mnist",
        "done",
        "–",
        f"{100 * result['test_accuracy']:.2f}%",
        "–",
    ]


def test_other_classes_than_the_datas(
    imported: tuple[Run, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diptych.formats import importing

    with pytest.raises(InputError, match="tells coat, shoe apart, but the classes of data mnist"):
        importing._check_classes(Path("x"), {"class_names": ["coat", "shoe"]}, ("0", "1"), "mnist")
