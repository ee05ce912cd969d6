"""Keras models under audit, and what holds for each of them: for the tests of the adapter."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.frameworks.keras.submission import FIRST_SEED
from diptych.auditing.graph import INPUT, Arrays, Graph
from diptych.auditing.kinds.kind import has_attributes
from diptych.auditing.kinds.registry import KINDS

RANDOM = np.random.default_rng(0)
keras.utils.set_random_seed(FIRST_SEED)  # No user's seed: TensorFlow refuses to draw without one.


def side(*parts: Any, loss: Any = "mse", optimizer: Any = "sgd", **extras: Any) -> Adapter:
    """A compiled Sequential model under audit; parts are functions that make its layers."""

    def build(_: int) -> Any:
        model = keras.Sequential([part() if callable(part) else part for part in parts])
        model.compile(optimizer=optimizer() if callable(optimizer) else optimizer, loss=loss)
        return (model, extras) if extras else model

    return Adapter(build)


def functional(shape: tuple[int, ...], connect: Any, loss: Any = "mse", **compile: Any) -> Adapter:
    """A compiled functional model under audit; `connect` makes its output of its input."""

    def build(_: int) -> keras.Model:
        inputs = keras.Input(shape)
        model = keras.Model(inputs, connect(inputs))
        model.compile(**{"optimizer": "sgd", "loss": loss} | compile)
        return model

    return Adapter(build)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def nodes(model: Adapter) -> dict[str, Any]:
    return {node.name: node for node in model.graph().nodes}


def kinds(model: Adapter) -> list[str]:
    return [node.kind for node in model.graph().nodes]


def check(model: Adapter, x: np.ndarray) -> Arrays:
    """Holds graph, record and single nodes against each other and against the model itself."""
    before = model.parameters()
    graph = model.graph()
    assert Graph.from_dict(graph.to_dict()) == graph
    record = model.record(x, training=False)
    predicted = keras.ops.convert_to_numpy(model.model(model.network.from_graph(x), training=False))
    last = graph.nodes[-1].name
    np.testing.assert_allclose(
        record[last], model.network.to_graph(np.array(predicted)), rtol=1e-5, atol=1e-6
    )
    assert record.keys() == {node.name for node in graph.nodes}
    for node in graph.nodes:
        assert record[node.name].shape == (len(x), *node.shape)
        assert record[node.name].dtype == np.float32
        # How a normalisation is used is not for its node to say: the audit sees it in records.
        assert has_attributes(node, KINDS[node.kind]) and "statistics" not in node.attributes
        assert node.parameters.keys() <= set(KINDS[node.kind].roles or node.parameters)
        assert set(node.parameters.values()) <= before.keys()
        inputs = [x if name == INPUT else record[name] for name in node.inputs]
        again = model.run_node(node.name, inputs, training=False)
        np.testing.assert_allclose(again, record[node.name], rtol=1e-5, atol=1e-6)
    unchanged(model, before)
    return record


def unchanged(model: Adapter, before: Arrays) -> None:
    after = model.parameters()
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, name)


def convolve(x: np.ndarray, kernel: np.ndarray, node: Any) -> np.ndarray:
    """A convolution of images as the graph defines it, one pixel at a time."""
    x = np.pad(x, [(0, 0), *map(tuple, node.attributes["padding"]), (0, 0)])
    (rows, columns), (down, right) = node.attributes["strides"], node.attributes["dilation"]
    groups, out = node.attributes["groups"], kernel.shape[-1]
    y = np.zeros((len(x), *node.shape))
    for i in range(node.shape[0]):
        for j in range(node.shape[1]):
            window = x[:, i * rows :: down, j * columns :: right][
                :, : kernel.shape[0], : kernel.shape[1]
            ]
            for channel in range(out):
                group, width = channel // (out // groups), kernel.shape[2]
                part = window[..., group * width : (group + 1) * width]
                y[:, i, j, channel] = np.sum(part * kernel[..., channel], axis=(1, 2, 3))
    return y


def compiled(model: keras.Model) -> keras.Model:
    model.compile("sgd", "mse")
    return model


def dense() -> keras.Model:
    return compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


def on_backend(backend: str, script: str, *arguments: Path) -> str:
    """What a script prints in a process of its own, where Keras runs on the given backend."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()
