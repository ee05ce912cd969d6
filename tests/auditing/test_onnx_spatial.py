"""ONNX' operators that move, resample and join numbers, against the reference and ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_onnx_adapter import ints, numbers, op, proven, saved

TAKES = ("n", 4, 6, 5)


@pytest.mark.parametrize(
    ("kind", "operator", "inputs", "attributes", "constants"),
    [
        (
            "conv_transpose",
            "ConvTranspose",
            "x w b",
            {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 0]},
            {"w": numbers(4, 3, 3, 2), "b": numbers(3)},
        ),
        (
            "conv_transpose",
            "ConvTranspose",
            "x w",
            {"group": 2, "dilations": [2, 1]},
            {"w": numbers(4, 3, 2, 2)},
        ),
        (
            "resize",
            "Resize",
            "x  s",
            {"mode": "linear"},
            {"s": np.array([1, 1, 2, 1.5], np.float32)},
        ),
        (
            "resize",
            "Resize",
            "x  s",
            {
                "mode": "nearest",
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            },
            {"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        (
            "resize",
            "Resize",
            "x  s",
            {"mode": "nearest"},
            {"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        (
            "resize",
            "Resize",
            "x  s",
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            {"s": np.array([1, 1, 2, 2], np.float32)},
        ),
        ("resize", "Resize", "x  s", {"mode": "cubic"}, {"s": np.array([1, 1, 2, 2], np.float32)}),
        ("depth_to_space", "DepthToSpace", "x", {"blocksize": 2, "mode": "DCR"}, {}),
        ("depth_to_space", "DepthToSpace", "x", {"blocksize": 2, "mode": "CRD"}, {}),
        ("pad", "Pad", "x p", {"mode": "reflect"}, {"p": ints(0, 0, 1, 2, 0, 0, 1, 0)}),
        (
            "pad",
            "Pad",
            "x p v",
            {},
            {"p": ints(0, 0, 1, 2, 0, 0, 1, 0), "v": np.array(0.5, np.float32)},
        ),
        ("slice", "Slice", "x a b c", {}, {"a": ints(1, 0), "b": ints(3, 100), "c": ints(1, 2)}),
        ("slice", "Gather", "x i", {"axis": 2}, {"i": np.array(-1, np.int64)}),
        ("repeat", "Tile", "x t", {}, {"t": ints(1, 2, 1, 3)}),
        ("reduce", "ReduceSum", "x a", {"keepdims": 0}, {"a": ints(1, 3)}),
        ("reduce", "ReduceMean", "x", {"axes": [1], "keepdims": 1}, {}),
        ("rearrange", "Reshape", "x s", {}, {"s": ints(0, 2, 2, 6, 5)}),
    ],
)
def test_an_operator_does_what_its_node_says(
    tmp_path: Path, kind: str, operator: str, inputs: str, attributes: Any, constants: Any
) -> None:
    node = op(operator, "x", "y", **attributes)
    del node.input[:]
    node.input.extend(inputs.split(" "))
    conv = op("Relu", "y", "z")
    proven(saved(tmp_path, TAKES, [node, conv], **constants), kind, "activation")
