"""Keras' normalisations, activations, embeddings and joins, each held against the reference."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalOperand=false, reportOperatorIssue=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import check, functional, numbers, side

from diptych.auditing import reference
from diptych.auditing.graph import INPUT


@pytest.mark.parametrize(
    ("name", "function", "slope"),
    [
        ("celu", "celu", 1.0),
        ("hard_sigmoid", "hard_sigmoid", 1 / 6),
        ("hard_silu", "hard_swish", None),
        ("hard_shrink", "hard_shrink", 0.5),
        ("hard_tanh", "clip", None),
        ("log_sigmoid", "log_sigmoid", None),
        ("log_softmax", "log_softmax", None),
        ("mish", "mish", None),
        ("soft_shrink", "soft_shrink", 0.5),
        ("softsign", "softsign", None),
        ("sparse_plus", "sparse_plus", None),
        ("sparse_sigmoid", "sparse_sigmoid", None),
        ("squareplus", "squareplus", 4.0),
        ("tanh_shrink", "tanh_shrink", None),
    ],
)
def test_activations_by_name(name: str, function: str, slope: float | None) -> None:
    model, x = side(keras.Input((4,)), lambda: layers.Activation(name)), 2 * numbers(3, 4)
    record = check(model, x)
    (node,) = model.graph().nodes
    assert (node.kind, node.attributes["function"]) == ("activation", function)
    assert node.attributes["slope"] == slope
    assert reference.distance(node, {}, record | {INPUT: x}, False).ratio <= 1


@pytest.mark.parametrize(
    ("make", "kind", "attributes"),
    [
        (lambda: layers.LayerNormalization(), "layer_norm", {"epsilon": 1e-3, "axes": [-1]}),
        (lambda: layers.LayerNormalization([1, 2, 3]), "layer_norm", {"axes": [-3, -2, -1]}),
        (lambda: layers.LayerNormalization([2, 3]), "layer_norm", {"axes": [-2, -1]}),
        (lambda: layers.RMSNormalization(), "rms_norm", {"epsilon": 1e-6, "axes": [-1]}),
        (lambda: layers.GroupNormalization(2), "group_norm", {"groups": 2, "epsilon": 1e-3}),
        (lambda: layers.GroupNormalization(-1), "group_norm", {"groups": 6}),
        (lambda: layers.PReLU(), "prelu", {}),
        (lambda: layers.PReLU(shared_axes=[1, 2]), "prelu", {}),
        (lambda: layers.PReLU(shared_axes=[1]), "prelu", {}),
        (lambda: layers.Softmax(2), "activation", {"function": "softmax", "axis": -2}),
        (lambda: layers.UnitNormalization(), "unit_norm", {"axes": [-1]}),
        (lambda: layers.UnitNormalization([1, 2]), "unit_norm", {"axes": [-3, -2]}),
        (lambda: layers.UnitNormalization(0), "unit_norm", {"axes": [-4]}),
        (lambda: layers.Softmax(0), "activation", {"function": "softmax", "axis": -4}),
    ],
)
def test_normalisations_and_slopes(make: Any, kind: str, attributes: dict[str, Any]) -> None:
    model, x = side(keras.Input((4, 5, 6)), make), numbers(3, 4, 5, 6)
    varied = {name: numbers(*value.shape) for name, value in model.parameters().items()}
    model.load(varied)
    record = model.record(x, False) | {INPUT: x}
    (node,) = model.graph().nodes
    assert node.kind == kind
    assert node.attributes.items() >= attributes.items()
    assert reference.distance(node, varied, record, False).ratio <= 1


def test_slopes_for_all_positions_are_one_for_each_channel() -> None:
    model = side(keras.Input((4, 5, 6)), lambda: layers.PReLU(shared_axes=[1, 2]))
    ((name, slopes),) = model.parameters().items()
    assert slopes.shape == (6,)
    model.load({name: np.arange(6, dtype=np.float32)})
    np.testing.assert_array_equal(model.parameters()[name], np.arange(6))


def test_branches_are_combined() -> None:
    def connect(image: Any) -> Any:
        x = layers.Conv2D(6, 1)(image)
        gate = layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(x))
        y = layers.Multiply()([x, keras.ops.sigmoid(gate)])
        y = layers.Subtract()([y, image]) / (keras.ops.abs(x) + 1.0)
        return layers.Average()([layers.Maximum()([x, y]), layers.Minimum()([x, y])])

    model = functional((4, 5, 6), connect)
    x = numbers(3, 4, 5, 6)
    record = check(model, x) | {INPUT: x}
    found = [node.kind for node in model.graph().nodes]
    joins = ("multiply", "subtract", "divide", "maximum", "minimum", "average")
    assert "custom" not in found and all(kind in found for kind in joins)
    for distance in reference.check(model.graph(), model.parameters(), record, False).values():
        assert distance.ratio <= 1


def test_an_embedding_with_a_mask() -> None:
    model = side(keras.Input((3,), dtype="int32"), lambda: layers.Embedding(5, 4, mask_zero=True))
    x = np.array([[0, 1, 4], [2, 2, 3]], np.float32)
    (node,) = model.graph().nodes
    assert node.attributes == {"padding_index": None, "max_norm": None, "mask": True}
    record = model.record(x, False) | {INPUT: x}
    assert reference.distance(node, model.parameters(), record, False).ratio <= 1
