"""What people hand in for a Keras side: functions and files."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import (
    check,
    compiled,
    dense,
    numbers,
)

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.errors import InputError
from diptych.formats.keras.archive import from_file


def saved(path: Path, *more: keras.Layer, compiled: bool = True) -> Path:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out"), *more])
    if compiled:
        model.compile(keras.optimizers.Adam(0.1), "mse")
        model.fit(numbers(4, 3), numbers(4, 2), verbose=0)
    model.save(path)
    return path


def test_a_file_is_trained_from_a_fresh_optimiser(tmp_path: Path) -> None:
    model = Adapter(from_file(saved(tmp_path / "model.keras")))
    check(model, numbers(2, 3))
    assert model.trains
    assert model.graph().nodes[0].where is None
    gradient = {"out/kernel": np.full((3, 2), 7.0, np.float32)}
    moved = model.parameters()["out/kernel"] - model.updates([gradient])[0]["out/kernel"]
    np.testing.assert_allclose(moved, 0.1, rtol=1e-4)
    one, two = model.initial(2)
    np.testing.assert_array_equal(one["out/kernel"], two["out/kernel"])


def test_an_uncompiled_file_does_not_train(tmp_path: Path) -> None:
    model = Adapter(from_file(saved(tmp_path / "model.keras", compiled=False)))
    assert not model.trains
    assert model.optimiser() == {}
    check(model, numbers(2, 3))
    assert model.record(numbers(2, 3), training=True).keys() == {"out"}


def two_ends(inputs: int, outputs: int) -> keras.Model:
    taken = [keras.Input((2,), name=f"in{i}") for i in range(inputs)]
    x = layers.Add()(taken) if inputs > 1 else taken[0]
    return compiled(keras.Model(taken, [layers.Dense(1)(x) for _ in range(outputs)]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: None, "returned None: expected a compiled keras.Model"),
        (lambda: (1, 2, 3), r"returned \(int, int, int\)"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Dense(1)]), "uncompiled"),
        (lambda: compiled(keras.Sequential([layers.Dense(1)])), "give it a keras.Input"),
        (lambda: two_ends(2, 1), r"2 inputs \(in0, in1\)"),
        (lambda: two_ends(1, 2), "2 outputs"),
        (
            lambda: (
                compiled(keras.Sequential([keras.Input((None, 2)), layers.LSTM(1)])),
                {"data": (np.zeros((4, 2)), np.zeros((4, 1)))},
            ),
            r"shape \(None, 2\), and data gives \(2,\): expected as many axes",
        ),
        (lambda: (dense(), {"step": print}), "extras has step: the keys that count are prepare"),
        (lambda: (dense(), {"fit": {"batchsize": 3}}), "extras\\['fit'\\] holds batchsize"),
        (lambda: (dense(), {"data": 3}), r"expected \(x, y\)"),
        (lambda: (dense(), {"prepare": 3}), "expected a function"),
    ],
)
def test_what_is_not_to_be_audited(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Adapter(lambda _: given())


def test_the_users_data_builds_a_model_that_has_no_input() -> None:
    model = Adapter(
        lambda _: (
            compiled(keras.Sequential([layers.Dense(1)])),
            {"data": (numbers(4, 3), numbers(4, 1))},
        )
    )
    assert model.graph().input_shape == (3,)
    check(model, numbers(2, 3))
