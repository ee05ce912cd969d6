"""Damaged, truncated, hostile, foreign files: one line, exit code 2, nothing run from them."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import network_named
from safetensors.numpy import save
from written import content_of, format_module, same_weights, written

from diptych import cli
from diptych.errors import InputError
from diptych.formats import archives, importing, reading
from diptych.worker import Worker, WorkerError
from diptych.workflows import registry

CONTENT = content_of(network_named("normalised"))


@pytest.fixture(scope="module")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An export in each format that comes in."""
    made: dict[str, Path] = {}

    def file(to: str) -> Path:
        if to not in made:
            made[to] = written(to, tmp_path_factory.mktemp("whole"), CONTENT)
        return made[to]

    return file


def refused(path: Path, contents: bytes, to: str) -> str:
    """What is said of a file with these contents; empty where they are read as they were."""
    path.write_bytes(contents)
    try:
        found = format_module(to).read(path)
    except InputError as problem:
        assert "\n" not in str(problem)
        return str(problem)
    # Some bytes mean nothing, such as a date in an archive, or say what a weight is.
    assert found.network.input_shape == (28, 28, 1)
    return ""


@pytest.mark.parametrize("to", ["keras", "safetensors"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_and_changed(
    to: str, data: st.DataObject, file_of: Callable[[str], Path], tmp_path: Path
) -> None:
    file = file_of(to)
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    assert refused(tmp_path / file.name, whole[:place], to)
    byte = data.draw(st.integers(0, 255))
    refused(tmp_path / file.name, whole[:place] + bytes([byte]) + whole[place + 1 :], to)


def test_truncated_and_changed_onnx(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    """In the process that reads such files: what damage does to a runtime is its own affair."""
    whole, path = file_of("onnx").read_bytes(), tmp_path / "x.onnx"
    chance = np.random.default_rng(0)
    worker, refusals = Worker(), 0
    try:
        for number in range(30):
            place = int(chance.integers(len(whole)))
            changed = bytearray(whole[:place] if number % 2 else whole)
            if not number % 2:
                for each in chance.integers(len(whole), size=20):
                    changed[each] ^= 1 << int(chance.integers(8))
            path.write_bytes(changed)
            request = {"file": str(path), "format": "onnx", "network": None}
            try:
                worker.call("formats.importing:read_job", request, limit=60)
            except (InputError, WorkerError) as problem:
                refusals += 1
                if "process ended" in str(problem):
                    worker.close()
                    worker = Worker()
            else:
                assert not number % 2  # What is cut off is missed.
    finally:
        worker.close()
    assert refusals >= 15


# Files that want more than to be read.


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".keras", ".pt", ".pt2", ".h5"])
def test_no_pickle_is_opened(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, trap = tmp_path / f"x{suffix}", tmp_path / "trapped"
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(SystemExit) as ended:
        cli.main(["import", str(path), "--runs", str(tmp_path / "runs")])
    error = capfd.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and f"x{suffix}" in error
    assert not trap.exists() and not (tmp_path / "runs").exists()


def keras_file(path: Path, config: Any, weights: bytes = b"", **others: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights)
        for name, contents in others.items():
            file.writestr(name, contents)
    return path


def layer(kind: str, module: str = "keras.layers", **settings: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "config": {"name": kind.lower(), **settings}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = layer("InputLayer", batch_shape=[None, 2, 2, 1])
    described = {"name": "s", "layers": [first, layer("Flatten"), *layers]}
    return {"class_name": "Sequential", "module": "keras", "config": described}


DENSE = layer("Dense", units=2, activation="linear", use_bias=True)
DEEP = json.loads("[" * 400 + "]" * 400)


@pytest.mark.parametrize(
    "config, said",
    [
        (sequential(layer("Lambda", function="x"), DENSE), "Lambda.*no such layer"),
        (sequential(layer("Evil", "os.path"), DENSE), "Evil of os.path"),
        (sequential(DENSE | {"registered_name": "mine>Dense"}), "Keras' own layers alone"),
        (layer("TFSMLayer", filepath="/"), "TFSMLayer"),
        (sequential(layer("Dense", units=2**40)), "units"),
        (sequential(layer("Dense", units=2**20), layer("Dense", units=2**20)), "parameters"),
        (sequential(layer("Dense", units="many")), "units"),
        (sequential({"class_name": "Dense"}), "does not describe"),
        (sequential(DENSE | {"config": DEEP}), "nested more than 200 deep"),
        ([], "does not describe"),
        ({"class_name": "Sequential", "module": "keras", "config": {}}, "no layers"),
        (sequential(DENSE), "weights cannot be read"),
    ],
)
def test_hostile_descriptions(config: Any, said: str, tmp_path: Path) -> None:
    path = keras_file(tmp_path / "x.keras", config)
    with pytest.raises(InputError, match=said):
        format_module("keras").read(path)


def test_a_lambda_that_keras_wrote_is_not_run(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    trap = tmp_path / "trapped"
    layers = [keras.layers.Flatten(), keras.layers.Lambda(lambda x: x), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((28, 28, 1)), *layers]).save(tmp_path / "x.keras")
    with pytest.raises(InputError, match=r"lambda \(Lambda\)"):
        format_module("keras").read(tmp_path / "x.keras")
    assert not trap.exists()


def hdf5(make: Callable[[Any], None]) -> bytes:
    import h5py

    contents = io.BytesIO()
    with h5py.File(contents, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["1"] = np.zeros(2, np.float32)
        make(group)
    return contents.getvalue()


def test_hdf5_that_leads_elsewhere(tmp_path: Path) -> None:
    import h5py

    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["k"] = np.ones((4, 2), np.float32)

    def linked(group: Any) -> None:
        group["0"] = h5py.ExternalLink(str(secret), "k")

    def soft(group: Any) -> None:
        group["0"] = h5py.SoftLink("/layers")

    def external(group: Any) -> None:
        group.create_dataset("0", (4, 2), "f4", external=[(str(secret), 0, 32)])

    def virtual(group: Any) -> None:
        layout = h5py.VirtualLayout((4, 2), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "k", (4, 2))
        group.create_virtual_dataset("0", layout)

    def large(group: Any) -> None:
        group.create_dataset("0", (2**30, 2**30), "f4", chunks=(1024, 1024))

    def words(group: Any) -> None:
        group["0"] = np.full((4, 2), b"x")

    elsewhere, large_ones = "weights layers/dense/vars/0 are not in the file itself", "its arrays"
    refusals = {linked: elsewhere, soft: elsewhere, external: elsewhere, virtual: elsewhere}
    refusals |= {large: large_ones, words: "weights layers/dense/vars/0 are |S1"}
    for make, refusal in refusals.items():
        path = keras_file(tmp_path / "x.keras", sequential(DENSE), hdf5(make))
        with pytest.raises(InputError, match=re.escape(refusal)):
            format_module("keras").read(path)

    def whole(group: Any) -> None:
        group["0"] = np.ones((4, 2), np.float32)

    path = keras_file(tmp_path / "x.keras", sequential(DENSE), hdf5(whole))
    assert format_module("keras").read(path).weights["dense/kernel"].sum() == 8


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    path = keras_file(tmp_path / "x.keras", sequential(DENSE), hdf5(lambda _: None))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("assets/zeros", bytes(2**21))
    assert path.stat().st_size < 2**14
    with pytest.raises(InputError, match="would be 2 MiB unpacked"):
        format_module("keras").read(path)


def onnx_file(path: Path, nodes: list[Any], size: int = 4, **tensors: Any) -> Path:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(each, name) if isinstance(each, np.ndarray) else each
            for name, each in tensors.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def test_hostile_onnx(tmp_path: Path) -> None:
    module = format_module("onnx")
    from onnx import TensorProto, helper

    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 2])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="../../../../etc/passwd")
    inner = TensorProto()
    inner.CopyFrom(outside)
    constant = helper.make_node("Constant", [], ["w"], value=inner)
    huge = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**31, 2**31])
    dense = helper.make_node("MatMul", ["x", "w"], ["y"])
    other = helper.make_node("Evil", ["x"], ["y"], domain="evil")
    fill = helper.make_node("ConstantOfShape", ["s"], ["y"])
    w = np.ones((4, 2), np.float32)
    cases = [
        ({"nodes": [dense], "w": outside}, "weights in another file"),
        ({"nodes": [constant, dense]}, "weights in another file"),
        ({"nodes": [dense], "w": huge}, "has shape"),
        ({"nodes": [dense], "size": 2**40, "w": w}, "too large to be meant"),
        ({"nodes": [other]}, "operator Evil"),
        ({"nodes": [fill], "s": np.full(4, 2**20)}, "does not run|does not take"),
    ]
    for values, said in cases:
        with pytest.raises(InputError, match=said):
            module.read(onnx_file(tmp_path / "x.onnx", **values))


def test_hostile_safetensors(tmp_path: Path) -> None:
    weights = {name: value.copy() for name, value in CONTENT.weights.items()}
    about = {"diptych": json.dumps(CONTENT.about)}
    good = save(weights, about)
    assert not refused(tmp_path / "x.safetensors", good, "safetensors")
    length = (2**63).to_bytes(8, "little")
    assert "not a whole safetensors file" in refused(
        tmp_path / "x.safetensors", length + good[8:], "safetensors"
    )
    for changed, said in (
        (dict(weights, more=np.zeros(1, np.float32)), "more belongs to no layer"),
        ({k: v for k, v in weights.items() if k != "output/bias"}, "output/bias is missing"),
        (weights | {"output/bias": np.zeros(3, np.float32)}, "shape"),
        (weights | {"output/bias": np.zeros(10)}, "float64, expected float32"),
    ):
        assert said in refused(tmp_path / "x.safetensors", save(changed, about), "safetensors")
    for said in ("{", "[]", '{"network": 3}', '{"network": {"layers": 1}}', "[" * 100_000):
        contents = save(weights, {"diptych": said})
        assert refused(tmp_path / "x.safetensors", contents, "safetensors")


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    weights = CONTENT.weights | {"output/bias": np.full(10, np.nan, np.float32)}
    path = tmp_path / "x.safetensors"
    path.write_bytes(save(weights, {"diptych": json.dumps(CONTENT.about)}))
    request = {"file": str(path), "format": "safetensors", "network": None}
    with Worker() as worker, pytest.raises(InputError, match="output/bias hold what is no number"):
        worker.call("formats.importing:read_job", request)


def test_what_a_file_says_of_itself_is_not_trusted() -> None:
    for about in ({}, {"recipe": 3, "seed": 0}, {"recipe": {}, "seed": "x"}, {"recipe": [1]}):
        assert importing._training(about) == (importing.RECIPE, 0)
    every = list(registry.NAMES)
    assert importing._workflow({"workflow": "../../evil"}, "onnx", every) == "tensorflow"
    assert importing._workflow({"workflow": ["numpy"]}, "keras", every) == "keras"


@pytest.mark.parametrize("given", ["conv/1", "0", "", "ключ", "a\x1b[31mb", "a-b", "_"])
def test_layers_get_names_that_a_network_can_have(given: str) -> None:
    network = network_named("geometry").to_dict()
    network["layers"][0]["name"] = reading.layer_name(given, {"layer"})
    assert type(CONTENT.network).from_dict(network)


def test_bits_survive(file_of: Callable[[str], Path]) -> None:
    for to in ("keras", "safetensors"):
        assert same_weights(format_module(to).read(file_of(to)).weights, CONTENT.weights)
