"""ONNX' normalisations, activations, embeddings and joins, each held against the reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from test_onnx_adapter import nodes_of, numbers, op, proven, saved

from diptych.auditing.frameworks.onnx.adapter import Adapter


def test_normalisations(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 4, 3, 5),
        [
            op("InstanceNormalization", "x g4 b4", "instance", epsilon=1e-3),
            op("Transpose", "instance", "turned", perm=[0, 2, 3, 1]),
            op("LayerNormalization", "turned g4 b4", "layer", epsilon=1e-5),
            op("Transpose", "layer", "back", perm=[0, 3, 1, 2]),
            op("LayerNormalization", "back whole", "out", axis=1, epsilon=1e-3),
        ],
        g4=numbers(4),
        b4=numbers(4),
        whole=numbers(4, 3, 5),
    )
    model = proven(file, "group_norm", "layer_norm", "layer_norm")
    nodes = nodes_of(model)
    assert nodes["INSTANCE"].attributes == {"epsilon": 1e-3, "groups": 4}
    assert nodes["LAYER"].attributes == {"epsilon": 1e-5, "axes": [-1]}
    assert nodes["OUT"].attributes == {"epsilon": 1e-3, "axes": [-3, -2, -1]}
    assert model.parameters()[nodes["OUT"].parameters["gamma"]].shape == (3, 5, 4)


def test_group_normalisation(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 6, 3, 5),
        [op("GroupNormalization", "x g b", "out", num_groups=3)],
        opset=21,
        g=numbers(6),
        b=numbers(6),
    )
    model = proven(file, "group_norm")
    assert model.graph().nodes[0].attributes == {"epsilon": 1e-5, "groups": 3}


@pytest.mark.parametrize(
    ("operator", "settings", "function", "slope"),
    [
        ("HardSwish", {}, "hard_swish", None),
        ("Mish", {}, "mish", None),
        ("Softsign", {}, "softsign", None),
        ("Celu", {"alpha": 0.5}, "celu", 0.5),
        ("HardSigmoid", {}, "hard_sigmoid", 0.2),
        ("HardSigmoid", {"alpha": 1 / 6}, "hard_sigmoid", 1 / 6),
        ("Shrink", {"lambd": 0.3}, "hard_shrink", 0.3),
        ("Shrink", {"lambd": 0.3, "bias": 0.3}, "soft_shrink", 0.3),
        ("ThresholdedRelu", {"alpha": 0.7}, "threshold", None),
    ],
)
def test_activations(
    tmp_path: Path, operator: str, settings: dict[str, Any], function: str, slope: float | None
) -> None:
    file = saved(tmp_path, ("n", 3, 4, 5), [op(operator, "x", "out", **settings)], opset=18)
    attributes = proven(file, "activation").graph().nodes[0].attributes
    assert (attributes["function"], attributes["slope"]) == (function, slope)


def test_slopes_gates_and_joins(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 3, 4, 5),
        [
            op("PRelu", "x slopes", "prelu"),
            op("GlobalAveragePool", "prelu", "pooled"),
            op("Sigmoid", "pooled", "gate"),
            op("Mul", "prelu gate", "gated"),
            op("Sub", "gated x", "difference"),
            op("Max", "difference prelu", "larger"),
            op("Min", "larger gated", "smaller"),
            op("Mean", "smaller prelu gated", "mean"),
            op("Exp", "x", "positive"),
            op("Div", "mean positive", "out"),
        ],
        slopes=numbers(3, 1, 1),
    )
    graph = Adapter(str(file)).graph()
    kinds = [node.kind for node in graph.nodes]
    proven(file, *kinds)
    joins = {"prelu", "multiply", "subtract", "maximum", "minimum", "average", "divide"}
    assert joins <= set(kinds) and "custom" not in kinds


def test_an_embedding(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ("n", 3),
        [op("Gather", "kernel x", "rows"), op("Flatten", "rows", "out")],
        dtype=TensorProto.INT64,
        kernel=numbers(7, 5),
    )
    model = Adapter(str(file))
    first, second = model.graph().nodes
    assert (first.kind, second.kind, first.shape) == ("embedding", "flatten", (3, 5))
    x = np.array([[0, 1, 6], [2, 2, 5]], np.float32)
    kernel = model.parameters()[first.parameters["kernel"]]
    np.testing.assert_array_equal(model.record(x, False)[first.name], kernel[x.astype(int)])
