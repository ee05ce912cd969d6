"""Keras' recurrent layers and attention, each held against what its node of the graph says."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import numbers

from diptych.auditing import reference
from diptych.auditing.frameworks.defaults import rows_of
from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.graph import INPUT

CHANCE = np.random.default_rng(0)


def checked(model: keras.Model, x: np.ndarray) -> Adapter:
    """An adapter of the model, whose layers all do what their nodes say at other weights."""
    model.compile("sgd", "mse")
    side = Adapter(lambda seed: model)
    own = {k: v + CHANCE.normal(0, 0.1, v.shape) for k, v in side.parameters().items()}
    own = {name: value.astype(np.float32) for name, value in own.items()}
    side.load(own)
    for name, value in side.parameters().items():
        np.testing.assert_array_equal(value, own[name])
    record = side.record(x, False) | {INPUT: x}
    distances = reference.check(side.graph(), own, record, False)
    assert len(distances) == len(side.graph().nodes), side.graph()
    assert all(distance.ratio <= 1 for distance in distances.values()), distances
    return side


LAYERS = {
    "lstm": (lambda: layers.LSTM(6), {"direction": "forward", "returns": "state"}),
    "lstm, backwards": (
        lambda: layers.LSTM(6, return_sequences=True, go_backwards=True),
        {"direction": "backward", "returns": "sequence", "reversed": True},
    ),
    "lstm, without a bias": (lambda: layers.LSTM(6, use_bias=False), {"activation": "tanh"}),
    "gru, by the paper": (lambda: layers.GRU(5, reset_after=False), {"reset_after": False}),
    "gru, hard": (
        lambda: layers.GRU(5, recurrent_activation="hard_sigmoid", return_sequences=True),
        {"recurrent_activation": "hard_sigmoid", "reset_after": True},
    ),
    "simple rnn": (lambda: layers.SimpleRNN(7, "relu"), {"activation": "relu"}),
    "both": (
        lambda: layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
        {"direction": "both", "returns": "sequence", "merge": "concat"},
    ),
    "both, averaged": (
        lambda: layers.Bidirectional(layers.GRU(5), "ave"),
        {"direction": "both", "returns": "state", "merge": "ave"},
    ),
    "both, multiplied": (
        lambda: layers.Bidirectional(layers.GRU(5, return_sequences=True), "mul"),
        {"merge": "mul"},
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_recurrent_layer_is_what_its_node_says(name: str) -> None:
    make, attributes = LAYERS[name]
    model = keras.Sequential([keras.Input((9, 4)), make()])
    (node,) = checked(model, numbers(3, 9, 4)).graph().nodes
    assert node.kind == name.split(",")[0].replace(" ", "_") or name.startswith("both")
    assert attributes.items() <= node.attributes.items()


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("sequence", [False, True])
def test_a_mask_of_an_embedding_is_skipped_by_the_layers_behind_it(
    both: bool, sequence: bool
) -> None:
    layer: Any = layers.GRU(4, return_sequences=sequence)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 3, mask_zero=True),
            layers.Dropout(0.1),
            layers.Bidirectional(layer) if both else layer,
        ]
    )
    x = CHANCE.integers(1, 9, (4, 6))
    x[1, -2:] = x[2, :3] = x[3, 2:4] = 0
    node = checked(model, x).graph().nodes[-1]
    assert node.attributes["masked"] and node.inputs[1] == INPUT
    assert node.attributes["skipped"] == ("zero" if both and sequence else "repeat")


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_what_its_node_says(causal: bool) -> None:
    x = keras.Input((7, 5))
    z = layers.Dense(3)(x)
    y = layers.MultiHeadAttention(2, 4, value_dim=3, dropout=0.1)(x, z, use_causal_mask=causal)
    node = checked(keras.Model(x, y), numbers(2, 7, 5)).graph().nodes[-1]
    assert node.kind == "multi_head_attention" and node.attributes["causal"] is causal
    assert node.attributes["order"] == [0, 1, 1] and node.attributes["dropout"] == 0.1
    apart = layers.MultiHeadAttention(2, 4, use_bias=False, output_shape=6)(x, z, x)
    node = checked(keras.Model(x, apart), numbers(2, 7, 5)).graph().nodes[-1]
    assert node.attributes["order"] == [0, 2, 1]
    assert {role for role in node.parameters if "bias" in role} == set()


def test_token_ids_stay_whole_numbers() -> None:
    x = CHANCE.integers(0, 9, (16, 6))

    def build(seed: int) -> Any:
        model = keras.Sequential([keras.Input((6,)), layers.Embedding(9, 3), layers.Flatten()])
        model.compile("sgd", "mse")
        return model, {"data": (x, np.zeros((16, 18), np.float32))}

    side = Adapter(build)
    prepared, _ = side.prepare(np.zeros((4, 28, 28, 1), np.uint8), np.zeros(4, np.int64))
    assert prepared.dtype == np.int64
    np.testing.assert_array_equal(prepared, x[rows_of(len(x), 4)])
    assert side.network.vocabulary == 9
    side.twin()
