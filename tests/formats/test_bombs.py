"""Small files that stand for very much: refused before memory or time is spent on them."""

import itertools
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from diptych.errors import InputError
from diptych.formats.keras import archive
from diptych.formats.onnx import opening

IMAGES = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
ANSWER = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])


def refused(action: Callable[[], Any]) -> str:
    start = time.process_time()
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        action()
    assert time.process_time() - start < 5
    return str(raised.value)


def relus(count: int) -> list[onnx.NodeProto]:
    names = ["x", *(f"t{number}" for number in range(count - 1)), "y"]
    pairs = itertools.pairwise(names)
    return [helper.make_node("Relu", [before], [after]) for before, after in pairs]


def test_an_onnx_file_of_very_many_nodes(tmp_path: Path) -> None:
    path = tmp_path / "many.onnx"
    onnx.save(helper.make_model(helper.make_graph(relus(100_000), "g", [IMAGES], [ANSWER])), path)
    answer = refused(lambda: opening.opened(path))
    assert answer == "many.onnx has 100,000 nodes; expected up to 20,000"


def test_onnx_functions_that_call_functions(tmp_path: Path) -> None:
    """Twenty-nine functions that call the next one twice: 2 to the 30 nodes in a few kB."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]

    def function(number: int) -> onnx.FunctionProto:
        called, domain = (f"f{number + 1}", "f") if number < 29 else ("Relu", "")
        nodes = [
            helper.make_node(called, ["a"], ["b"], domain=domain),
            helper.make_node(called, ["b"], ["c"], domain=domain),
        ]
        return helper.make_function("f", f"f{number}", ["a"], ["c"], nodes, opsets)

    graph = helper.make_graph(
        [helper.make_node("f0", ["x"], ["y"], domain="f")], "g", [IMAGES], [ANSWER]
    )
    model = helper.make_model(
        graph, functions=[function(number) for number in range(30)], opset_imports=opsets
    )
    path = tmp_path / "functions.onnx"
    onnx.save(model, path)
    assert path.stat().st_size < 10_000
    assert "far too many nodes" in refused(lambda: opening.opened(path))


def test_onnx_functions_that_call_themselves(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    nodes = [helper.make_node("f", ["a"], ["b"], domain="f")]
    function = helper.make_function("f", "f", ["a"], ["b"], nodes, opsets)
    call = [helper.make_node("f", ["x"], ["y"], domain="f")]
    graph = helper.make_graph(call, "g", [IMAGES], [ANSWER])
    path = tmp_path / "endless.onnx"
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opsets), path)
    assert "nodes" in refused(lambda: opening.opened(path))


def test_a_network_of_ordinary_size_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "fine.onnx"
    onnx.save(helper.make_model(helper.make_graph(relus(3000), "g", [IMAGES], [ANSWER])), path)
    assert len(opening.opened(path).graph.node) == 3000


def keras_file(path: Path, config: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", config)
        file.writestr("model.weights.h5", b"")
    return path


def test_a_keras_file_of_very_many_layers(tmp_path: Path) -> None:
    layer = {"module": "keras.layers", "class_name": "ReLU", "config": {}}
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"layers": [layer] * 100_000},
    }
    path = keras_file(tmp_path / "many.keras", json.dumps(config))
    assert "many.keras describes 100,001 layers" in refused(lambda: archive.opened(path))


def test_a_keras_file_of_models_within_models(tmp_path: Path) -> None:
    path = keras_file(tmp_path / "deep.keras", '{"a": ' * 500 + "1" + "}" * 500)
    assert "nested more than 200 deep" in refused(lambda: archive.opened(path))
    path = keras_file(tmp_path / "deeper.keras", "[" * 100_000)
    assert "not a whole .keras file" in refused(lambda: archive.opened(path))


def test_a_picture_folder_never_holds_more_than_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads decode: here with a budget of four pictures."""
    import threading

    from PIL import Image

    from diptych.data import image_folder, load_data, pictures

    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_folder, "CHUNK_PIXELS", 40_000)
    folder = tmp_path / "pictures"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (100, 100), (number, 0, 0)).save(folder / name / f"{number}.png")
    lock, alive, most = threading.Lock(), 0, 0
    decode, convert = pictures.open_picture, pictures.to_uint8

    def counted(path: Path) -> Image.Image:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        time.sleep(0.005)
        return decode(path)

    def converted(image: Image.Image, channels: int) -> np.ndarray:
        nonlocal alive
        pixels = convert(image, channels)
        with lock:
            alive -= 1
        return pixels

    monkeypatch.setattr(pictures, "open_picture", counted)
    monkeypatch.setattr(pictures, "to_uint8", converted)
    load_data(folder)
    assert 1 < most <= 4
