"""Keras' recurrent layers that begin with given states, as they are read."""

# Keras' annotations say less than Keras takes and gives.
# pyright: basic, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from begun_layers import CHANCE, X, read_as
from keras import layers

from diptych.auditing.frameworks.keras.adapter import Adapter as KerasAdapter
from diptych.auditing.graph import INPUT


def of_keras(connect: Callable[[Any], Any], *shape: int, dtype: str = "float32") -> KerasAdapter:
    def build(seed: int) -> Any:
        x = keras.Input(shape or (5, 4), dtype=dtype)
        model = keras.Model(x, connect(x))
        model.compile("sgd", "mse")
        return model

    return KerasAdapter(build)


def passed_on(layer: Any, **settings: Any) -> Callable[[Any], Any]:
    def connect(x: Any) -> Any:
        _, *states = layer(3, return_state=True, **settings)(x)
        y, *_ = layer(3, return_sequences=True, return_state=True, **settings)(
            x, initial_state=states
        )
        return layers.Dense(1)(y)

    return connect


def all_outputs(x: Any) -> Any:
    y, h, c = layers.LSTM(3, return_state=True)(x)
    z, *last = layers.LSTM(3, return_sequences=True, return_state=True)(x, initial_state=[h, c])
    return layers.Concatenate()([y, h, z[:, -1], *last])


def words(x: Any) -> Any:
    z = layers.Embedding(9, 4, mask_zero=True)(x)
    _, h, c = layers.LSTM(3, return_state=True)(z)
    # Keras itself gives the mask only to a layer that takes a sequence and nothing else.
    y = layers.LSTM(3)(z, initial_state=[h, c])
    masked = layers.LSTM(3)(z, initial_state=[h, c], mask=keras.ops.not_equal(x, 0))
    return layers.Concatenate()([y, masked])


KERAS = {
    "LSTM": (
        passed_on(layers.LSTM), ["lstm state", "lstm cell", "lstm sequence state cell"],
    ),
    "LSTM, backwards": (
        passed_on(layers.LSTM, go_backwards=True),
        ["lstm state", "lstm cell", "lstm sequence state cell"],
    ),
    "GRU": (passed_on(layers.GRU), ["gru state", "gru sequence state"]),
    "GRU, by the paper": (
        passed_on(layers.GRU, reset_after=False), ["gru state", "gru sequence state"],
    ),
    "RNN": (
        passed_on(layers.SimpleRNN), ["simple_rnn state", "simple_rnn sequence state"],
    ),
    "all outputs": (
        all_outputs,
        [
            "lstm state", "lstm cell", "lstm sequence state cell", "lstm state state cell",
            "lstm cell state cell",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", KERAS)
def test_keras_layers_begin_with_states(form: str) -> None:
    connect, expected = KERAS[form]
    read_as(of_keras(connect), expected)


def test_masked_steps_leave_given_states_alone() -> None:
    x = CHANCE.integers(1, 9, (4, 6))
    x[1, -2:] = x[2, :3] = x[3, 2:4] = x[0] = 0
    expected = ["lstm state", "lstm cell", *["lstm state state cell"] * 2]
    *_, last, masked = read_as(of_keras(words, 6, dtype="int32"), expected, x)
    assert not last.attributes["masked"] and len(last.inputs) == 3
    assert masked.attributes["masked"] and masked.inputs == (*last.inputs, INPUT)


def test_a_state_of_constant_numbers_is_an_unknown_layer() -> None:
    def connect(x: Any) -> Any:
        h = layers.Dense(3)(x[:, 0])
        return layers.LSTM(3)(x, initial_state=[h, np.ones((6, 3), np.float32)])

    assert of_keras(connect).graph().nodes[-1].kind == "custom"


def test_outputs_of_an_unknown_layer_are_told_apart() -> None:
    def connect(x: Any) -> Any:
        one, other = keras.ops.split(x, [1], axis=2)  # pyright: ignore[reportGeneralTypeIssues]
        return layers.Dense(2)(other[:, 0] - one[:, 0])

    side = of_keras(connect)
    record = side.record(X, False)
    split = [node.name for node in side.graph().nodes if node.attributes.get("class") == "Split"]
    assert len(split) == 2
    np.testing.assert_array_equal(record[split[0]], X[..., :1])
    np.testing.assert_array_equal(record[split[1]], X[..., 1:])
    np.testing.assert_array_equal(side.run_node(split[1], [2 * X], False), 2 * X[..., 1:])
