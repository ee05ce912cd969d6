"""The outputs of a Keras model as its user calls it."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras_sides import numbers, on_backend, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter


def test_outputs_are_random_in_training_only() -> None:
    def model() -> Adapter:
        return side(
            lambda: keras.Input((1000,)),
            lambda: layers.BatchNormalization(name="norm"),
            lambda: layers.Dropout(0.25),
        )

    adapter, x = model(), numbers(4, 1000)
    before = adapter.parameters()
    predicted = adapter.outputs(x, training=False, runs=2)
    assert predicted.shape == (2, 4, 1000)
    np.testing.assert_array_equal(predicted[0], predicted[1])
    record = adapter.record(x, training=False)
    np.testing.assert_allclose(predicted[0], list(record.values())[-1], rtol=1e-6)
    trained = adapter.outputs(x, training=True, runs=3)
    assert np.mean(trained == 0) == pytest.approx(0.25, abs=0.03)
    assert not np.array_equal(trained[0] == 0, trained[1] == 0)
    assert not np.array_equal(trained, adapter.outputs(x, training=True, runs=3))
    np.testing.assert_array_equal(model().outputs(x, training=True, runs=3), trained)
    unchanged(adapter, before)


def test_outputs_have_the_graphs_layout() -> None:
    adapter = side(
        lambda: keras.Input((2, 6, 5)),
        lambda: layers.Conv2D(3, 3, data_format="channels_first", name="conv"),
    )
    x = numbers(2, 6, 5, 2)
    np.testing.assert_allclose(
        adapter.outputs(x, False, 1)[0], adapter.record(x, False)["conv"], rtol=1e-5, atol=1e-6
    )


def test_a_compiled_model_is_run_compiled() -> None:
    eager: list[bool] = []

    class Watching(layers.Layer):
        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            eager.append(tf.executing_eagerly())
            return inputs * 2

    def build(jit: bool, eagerly: bool) -> Adapter:
        def model(_: int) -> keras.Model:
            network = keras.Sequential([keras.Input((3,)), Watching()])
            network.compile("sgd", "mse", jit_compile=jit, run_eagerly=eagerly)
            return network

        return Adapter(model)

    x = numbers(2, 3)
    for jit, eagerly in ((True, False), (False, False), (False, True)):
        adapter = build(jit, eagerly)
        eager.clear()
        np.testing.assert_allclose(adapter.outputs(x, False, 2), np.stack([2 * x] * 2), rtol=1e-6)
        assert set(eager) == {eagerly}


ON_JAX = """
import jax, keras, numpy as np
from keras import layers
from diptych.auditing.frameworks.keras.adapter import Adapter

traced = []

class Watching(layers.Layer):
    def call(self, inputs):
        traced.append(isinstance(inputs, jax.core.Tracer))
        return inputs * 2

def build(seed):
    model = keras.Sequential([
        keras.Input((500,)), Watching(), layers.BatchNormalization(), layers.Dropout(0.25)])
    model.compile("sgd", "mse")
    return model, {"fit": {"batch_size": 4, "shuffle": False}}

adapter = Adapter(build)
before, x = adapter.parameters(), np.random.default_rng(0).random((6, 500), np.float32)
traced.clear()
outputs = adapter.outputs(x, True, 3)
assert traced and all(traced), traced
assert abs(np.mean(outputs == 0) - 0.25) < 0.05
assert not np.array_equal(outputs[0] == 0, outputs[1] == 0)
for name, value in adapter.parameters().items():
    np.testing.assert_array_equal(value, before[name])
assert [len(y) for _, y in adapter.batches(10, 1)[0]] == [4, 4, 2]
losses, _ = adapter.steps([(x, x)] * 2)
assert losses[1] != losses[0]
print("fine")
"""


def test_on_jax() -> None:
    pytest.importorskip("jax")
    assert on_backend("jax", ON_JAX).endswith("fine")
