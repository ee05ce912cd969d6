"""Float64 twins of Keras models: that they compute in float64, or say what keeps them from it."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalOperand=false
# pyright: reportOperatorIssue=false

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras_sides import numbers, on_backend, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.auditing.frameworks.keras.twin import float64
from diptych.formats.keras.archive import from_file

CLASSES = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
"""Made before any twin, in float32, as people do."""


def network(**extras: Any) -> Adapter:
    return side(
        lambda: keras.Input((6, 6, 2)),
        lambda: layers.Conv2D(4, 3, activation="gelu"),
        lambda: layers.BatchNormalization(),
        lambda: layers.MaxPooling2D(2),
        lambda: layers.Dropout(0.5),
        lambda: layers.Flatten(),
        lambda: layers.Dense(3, kernel_regularizer="l2"),
        loss=CLASSES,
        optimizer=lambda: keras.optimizers.Adam(0.01, clipnorm=0.1),
        **extras,
    )


def test_a_twin_has_the_names_of_its_side_and_float64_throughout() -> None:
    model = network(fit={"batch_size": 2, "class_weight": {1: 0.3}})
    before = model.parameters()
    twin = model.twin()
    assert [node.name for node in twin.graph().nodes] == [n.name for n in model.graph().nodes]
    assert twin.parameters().keys() == before.keys()
    assert twin.initial(1)[0].keys() == before.keys()
    twin.load(before)
    x, y = numbers(4, 6, 6, 2), np.arange(4) % 3
    _, gradients = twin.loss_and_gradients(x, y)
    node = twin.graph().nodes[0]
    arrays = [
        *twin.parameters().values(),
        *twin.record(x, True).values(),
        twin.run_node(node.name, [x], False),
        twin.outputs(x, True, 2),
        *gradients.values(),
        *twin.updates([gradients])[0].values(),
        *twin.steps([(x, y)])[1][0].values(),
        *twin.initial(1)[0].values(),
        twin.batches(4, 1)[0][0][0],
        twin.batches_of(x, y, 1)[0][0][0],
    ]
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}
    unchanged(model, before)
    # Both mean the same.
    record, wide = model.record(x, False), twin.record(x, False)
    for name, value in record.items():
        np.testing.assert_allclose(value, wide[name], rtol=1e-4, atol=1e-5)
        assert value.dtype == np.float32
    loss, narrow = model.loss_and_gradients(x, y)
    assert loss == pytest.approx(twin.loss_and_gradients(x, y)[0], rel=1e-5)
    for name, value in narrow.items():
        np.testing.assert_allclose(value, gradients[name], rtol=1e-3, atol=1e-5)


def test_a_twins_gradients_are_those_of_its_loss_to_many_digits() -> None:
    twin = network().twin()
    x, y, before = numbers(5, 6, 6, 2), np.arange(5) % 3, twin.parameters()
    _, gradients = twin.loss_and_gradients(x, y)
    for name, gradient in gradients.items():
        way = numbers(*gradient.shape).astype(np.float64)
        ends = []
        for step in (1e-6, -1e-6):
            twin.load({name: before[name] + step * way})
            ends.append(twin.loss_and_gradients(x, y)[0])
        twin.load(before)
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float(np.sum(gradient * way)), rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_twin_pools_in_three_dimensions_as_tensorflow_does(padding: str) -> None:
    """Whole numbers tie often, and TensorFlow gives each of them the whole gradient."""
    model = side(
        lambda: keras.Input((5, 6, 7, 2)),
        lambda: layers.MaxPooling3D((2, 3, 2), (2, 2, 3), padding),
    )
    x = np.round(numbers(2, 5, 6, 7, 2))
    [node] = model.graph().nodes
    wide = model.twin().run_node(node.name, [x], False)
    assert wide.dtype == np.float64
    np.testing.assert_array_equal(wide, model.run_node(node.name, [x], False))
    sizes = [(1, 2, 3, 2, 1), (1, 2, 2, 3, 1), padding.upper()]
    gradients = []
    for dtype in ("float32", "float64"):
        start = tf.constant(x, dtype)
        with tf.GradientTape() as tape, float64() if dtype == "float64" else nullcontext():
            tape.watch(start)
            loss = tf.reduce_sum(tf.nn.max_pool3d(start, *sizes) ** 2)
        gradients.append(tape.gradient(loss, start).numpy())
    np.testing.assert_array_equal(*gradients)
    assert np.any(gradients[0])


def test_everything_is_put_back() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    cast, constant = tf.cast, tf.constant
    try:
        network().twin().loss_and_gradients(numbers(2, 6, 6, 2), np.arange(2))
        assert keras.config.floatx() == "float32"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert (tf.cast, tf.constant) == (cast, constant)
        assert CLASSES.dtype == "float32"
        with pytest.raises(NotImplementedError):
            side(lambda: keras.Input((2,)), lambda: Narrow()).twin()
        assert keras.config.floatx() == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


class Rounded(layers.Layer):
    """Computes in float32, whatever it is told."""

    def call(self, inputs: Any) -> Any:
        inner = keras.ops.cast(inputs, "float32")
        return 0.3 * keras.ops.cast(inner * inner, self.compute_dtype)


class Narrow(layers.Layer):
    """Has a weight in float32, whatever it is told."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), dtype="float32", name="scale")

    def call(self, inputs: Any) -> Any:
        return inputs * keras.ops.cast(self.scale, inputs.dtype)


class Mixed(layers.Layer):
    """Multiplies float32 and whatever it is given."""

    def call(self, inputs: Any) -> Any:
        return inputs * tf.ones((1,), tf.float32)


class InFloat32(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.5 / (1.0 + keras.ops.cast(step, "float32"))


def rounded_loss(y: Any, z: Any) -> Any:
    return keras.ops.mean(keras.ops.square(keras.ops.cast(z, "float32")))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {"parts": [lambda: Narrow(name="narrow")]},
            r"scale of the layer narrow \(test_keras_twin\.py:\d+\) is a .*float32",
        ),
        (
            {"parts": [lambda: Rounded(name="rounded")]},
            r"the layer rounded \(test_keras_twin\.py:\d+\) computes in fewer digits",
        ),
        ({"parts": [lambda: Mixed()]}, r"it fails in float64: test_keras_twin\.py:\d+: "),
        ({"loss": rounded_loss}, "the loss computes in fewer digits"),
        (
            {"optimizer": lambda: keras.optimizers.SGD(InFloat32())},
            r"the learning rate by InFloat32 is a .*float32",
        ),
    ],
)
def test_what_forces_fewer_digits_is_named(parts: dict[str, Any], reason: str) -> None:
    options: dict[str, Any] = {"parts": [lambda: layers.Dense(2)]} | parts
    model = side(lambda: keras.Input((3,)), *options.pop("parts"), **options)
    before = model.parameters()
    with pytest.raises(NotImplementedError, match=reason):
        model.twin()
    unchanged(model, before)


def test_a_model_that_was_made_before_has_no_twin() -> None:
    made = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match="was made before it was called, in float32"):
        Adapter(lambda _: made).twin()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_has_a_twin_of_what_it_means(policy: str) -> None:
    def build(_: int) -> keras.Model:
        keras.config.set_dtype_policy(policy)
        try:
            model = keras.Sequential(
                [
                    keras.Input((3,)),
                    layers.Dense(2, "tanh", name="in", dtype=policy),
                    layers.Dense(1, name="out", dtype="float32"),
                ]
            )
            model.compile(keras.optimizers.Adam(0.1), keras.losses.MeanSquaredError())
        finally:
            keras.config.set_dtype_policy("float32")
        return model

    adapter = Adapter(build)
    twin, x, y = adapter.twin(), numbers(4, 3), numbers(4, 1)
    p = twin.parameters()
    for name, value in adapter.parameters().items():
        np.testing.assert_array_equal(value, p[name])
    inner = np.tanh(x.astype(np.float64) @ p["in/kernel"] + p["in/bias"])
    outputs = inner @ p["out/kernel"] + p["out/bias"]
    np.testing.assert_allclose(twin.record(x, False)["out"], outputs, rtol=1e-13)
    loss, gradients = twin.loss_and_gradients(x, y)
    assert loss == pytest.approx(np.mean((outputs - y) ** 2), rel=1e-13)
    moved = p["out/bias"] - twin.updates([gradients])[0]["out/bias"]
    gradient = gradients["out/bias"]  # Adam's first step is the learning rate, but for epsilon.
    expected = 0.1 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(0.001))
    np.testing.assert_allclose(moved, expected, rtol=1e-10)
    rounded = np.abs(adapter.record(x, False)["out"] - outputs).max()
    assert 1e-6 < rounded < 0.1


def test_a_file_has_a_twin(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, "tanh", name="out")])
    model.compile(keras.optimizers.Adam(0.1), CLASSES)
    model.save(tmp_path / "model.keras")
    side = Adapter(from_file(tmp_path / "model.keras"))
    twin = side.twin()
    x = numbers(4, 3)
    for name, value in side.parameters().items():
        assert twin.parameters()[name].dtype == np.float64
        np.testing.assert_array_equal(twin.parameters()[name], value)
    kernel, bias = (twin.parameters()[f"out/{name}"] for name in ("kernel", "bias"))
    np.testing.assert_allclose(
        twin.record(x, False)["out/activation"],
        np.tanh(x.astype(np.float64) @ kernel + bias),
        rtol=1e-13,
    )
    moved = kernel - twin.updates([{"out/kernel": np.full((3, 2), 7.0)}])[0]["out/kernel"]
    # Adam's first step is the learning rate, but for epsilon. The file has the rate as float32.
    np.testing.assert_allclose(moved, 0.1 * 7 / (7 + 1e-7 / np.sqrt(0.001)), rtol=1e-12)


ON_EACH = """
import sys, keras, numpy as np
from keras import layers
from keras import optimizers as o
from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.formats.keras.archive import from_file

chance = np.random.default_rng(0)
OPTIMISERS = {
    "sgd": lambda: o.SGD(
        o.schedules.CosineDecay(0.1, 7, warmup_target=0.3, warmup_steps=3),
        momentum=0.9, nesterov=True, clipnorm=0.01),
    "adam": lambda: o.Adam(
        o.schedules.ExponentialDecay(0.1, 3, 0.7), beta_1=0.8, global_clipnorm=0.3),
    "adamw": lambda: o.AdamW(
        o.schedules.PiecewiseConstantDecay([2, 4], [0.1, 0.03, 0.007]), weight_decay=0.1),
    "rmsprop": lambda: o.RMSprop(
        0.01, rho=0.8, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=2),
    "nadam": lambda: o.Nadam(0.01, gradient_accumulation_steps=2),
}
LOSSES = {
    "classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "huber": keras.losses.Huber(0.3),
    "smoothed": keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
}
ACTIVATIONS = ["gelu", "selu", "elu", "silu", "softplus", "leaky_relu"]

def layered():
    blocks = [layers.Activation(name) for name in ACTIVATIONS]
    return [
        keras.Input((8, 8, 2)),
        layers.Rescaling(1 / 3, offset=0.1),
        layers.Conv2D(4, 3, padding="same", kernel_regularizer=keras.regularizers.L1L2(.01, .1)),
        layers.BatchNormalization(momentum=0.9),
        *[layer for block in blocks for layer in (block, layers.Rescaling(2.1, offset=-0.3))],
        layers.AveragePooling2D(3, 2, padding="valid"),
        layers.DepthwiseConv2D(2, activation="relu"),
        layers.LayerNormalization(),
        layers.GroupNormalization(2),
        layers.SeparableConv2D(6, 2, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(3),
    ]

def small():
    return [keras.Input((2,)), layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(0.7))]

def twin_of(parts, optimiser, loss):
    def build(seed):
        model = keras.Sequential(parts())
        model.compile(OPTIMISERS[optimiser](), LOSSES[loss])
        return model

    twin = Adapter(build).twin()
    chance = np.random.default_rng(0)
    twin.load({name: 0.1 * chance.standard_normal(value.shape) + 0.3 * (value.ndim == 1)
        for name, value in twin.parameters().items()})
    return twin

results = {}
x, y = chance.standard_normal((6, 8, 8, 2)), np.arange(6) % 3
twin = twin_of(layered, "sgd", "classes")
_, gradients = twin.loss_and_gradients(x, y)
results |= {f"gradient {number}": value for number, value in enumerate(gradients.values())}
results |= {f"node {number}": v for number, v in enumerate(twin.record(x, False).values())}
results["outputs"] = twin.outputs(x, False, 1)
results["losses"] = np.array(twin.steps([(x, y)] * 3)[0])
for loss in LOSSES:
    twin = twin_of(small, "sgd", loss)
    targets = y if loss == "classes" else np.eye(3)[y]
    value, gradients = twin.loss_and_gradients(x[:, 0, 0], targets)
    results[f"loss {loss}"] = np.array(value)
    results |= {f"gradient of {loss} {name}": value for name, value in gradients.items()}
for optimiser in OPTIMISERS:
    twin = twin_of(small, optimiser, "classes")
    chance = np.random.default_rng(1)
    pushes = [{name: 0.01 * chance.standard_normal(value.shape)
        for name, value in twin.parameters().items()} for _ in range(5)]
    for step, after in enumerate(twin.updates(pushes)):
        results |= {f"{optimiser} {step} {name}": value for name, value in after.items()}
np.savez(sys.argv[1], **results)
"""


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return twins_on("tensorflow", tmp_path_factory.mktemp("twins"))


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.exhaustive)])
def test_twins_on_all_backends_compute_the_same_to_nine_digits(
    backend: str, on_tensorflow: dict[str, np.ndarray], tmp_path: Path
) -> None:
    results = twins_on(backend, tmp_path)
    assert results.keys() == on_tensorflow.keys()
    for name, value in on_tensorflow.items():
        np.testing.assert_allclose(results[name], value, rtol=1e-9, atol=1e-11, err_msg=name)


def twins_on(backend: str, folder: Path) -> dict[str, np.ndarray]:
    """The results of ``ON_EACH`` on a backend, computed in a process of its own."""
    on_backend(backend, ON_EACH, path := folder / f"{backend}.npz")
    return dict(np.load(path))
