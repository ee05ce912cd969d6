"""Our own workflows in float64: all of them compute what the reference in NumPy computes."""

import os
from typing import Any

import numpy as np
import pytest

from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.

from diptych.auditing.frameworks.ours.adapter import Adapter as Reference
from diptych.auditing.frameworks.ours.submission import build
from diptych.network import Network
from diptych.recipe import Recipe

NETWORK = Network.from_dict(
    {
        "input_shape": [28, 28, 1],
        "layers": [
            {"kind": "conv", "filters": 3, "kernel": 3, "stride": 4, "padding": "same"}
            | {"activation": "leaky_relu", "slope": 0.1},
            {"kind": "max_pool", "size": 2},
            {"kind": "batch_norm", "momentum": 0.9},
            {"kind": "dropout", "rate": 0.25},
            {"kind": "flatten"},
            {"kind": "dense", "units": 6, "activation": "gelu"},
            {"kind": "dense", "units": 10},
        ],
    }
)
RECIPE = Recipe(batch_size=500, epochs=1, schedule="one-cycle", precision="bfloat16")
STEPS = 110
CHANCE = np.random.default_rng(0)
X, Y = CHANCE.integers(0, 256, (6, 28, 28, 1), np.uint8), np.arange(6) % 10
WEIGHTS = {
    name: (value + CHANCE.uniform(0, 0.3, value.shape)).astype(np.float32)
    for name, value in NETWORK.initial_weights(1).items()
}


def built(workflow: str, recipe: Recipe = RECIPE) -> Any:
    return build(workflow, NETWORK, recipe, WEIGHTS)


def adapters() -> dict[str, Any]:
    """The classes of those workflows that have a twin of their own, as far as installed."""
    from diptych.auditing.frameworks.tensorflow.adapter import Adapter as TensorFlow

    found: dict[str, Any] = {"numpy": Reference, "tensorflow": TensorFlow}
    try:
        from diptych.auditing.frameworks.ours.jax_adapter import Adapter as Jax

        found["jax"] = Jax
    except ImportError:
        pass
    return found


@pytest.fixture(scope="module", params=["numpy", "tensorflow", "jax"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    if request.param not in adapters():
        pytest.skip("pip install 'diptych[jax]'")
    side = adapters()[request.param](built(request.param))
    return side, side.twin()


def test_a_twin_computes_and_trains_as_the_reference(pair: tuple[Any, Any]) -> None:
    side, twin = pair
    exact = Reference(built("numpy"))
    dtypes = {value.dtype for value in side.parameters().values()}
    loss, gradients = twin.loss_and_gradients(X, Y)
    exact_loss, exact_gradients = exact.loss_and_gradients(X, Y)
    assert loss == pytest.approx(exact_loss, abs=1e-13)
    assert gradients.keys() == exact_gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.dtype == np.float64
        np.testing.assert_allclose(gradient, exact_gradients[name], rtol=0, atol=1e-13)
    expected = exact.outputs(X, False, 1)
    np.testing.assert_allclose(twin.outputs(X, False, 1), expected, rtol=0, atol=1e-13)
    record, exact_record = twin.record(X, True), exact.record(X, True)
    for name in ("rescale_1", "batch_norm_1", "parameter:batch_norm_1/moving_variance"):
        np.testing.assert_allclose(record[name], exact_record[name], rtol=0, atol=1e-13)
    for ours, theirs in zip(
        twin.updates([exact_gradients] * 3), exact.updates([exact_gradients] * 3), strict=True
    ):
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-13)
    losses, parameters = twin.steps([(X, Y)] * 5)
    exact_losses, exact_parameters = exact.steps([(X, Y)] * 5)
    np.testing.assert_allclose(losses, exact_losses, rtol=0, atol=1e-11)
    for name, value in exact_parameters[-1].items():
        np.testing.assert_allclose(parameters[-1][name], value, rtol=0, atol=1e-9)
    logits = exact.outputs(X, False, 1)[0]
    assert twin.loss(logits, Y) == pytest.approx(exact.loss(logits, Y), abs=1e-13)
    assert {value.dtype for value in side.parameters().values()} == dtypes
    assert side.loss_and_gradients(X, Y)[1]["conv_1/kernel"].dtype in dtypes


def test_training_draws_dropout_anew_in_each_run(pair: tuple[Any, Any]) -> None:
    for model in pair:
        outputs = model.outputs(X, True, 4)
        assert outputs.shape == (4, 6, 10)
        assert np.all(np.std(outputs, axis=0).max(axis=1) > 1e-3)
        later = model.outputs(X, True, 4)
        assert not any(np.array_equal(a, b) for a in outputs for b in later)


def test_what_the_recipe_says_of_time(pair: tuple[Any, Any]) -> None:
    position = (np.arange(STEPS) + 1) / (STEPS + 1)
    exact = 0.001 * np.minimum(position / 0.25, (1 - position) / 0.75)
    for model in pair:
        horizon, rates = model.horizon(), model.rates(1000)
        assert horizon["steps"] == STEPS and horizon["source"]
        assert [step for step, _ in rates] == list(range(STEPS))
        np.testing.assert_allclose([rate for _, (rate,) in rates], exact, rtol=1e-6)
        assert model.settings() == {}
    _, twin = pair
    np.testing.assert_allclose([rate for _, (rate,) in twin.rates(1000)], exact, rtol=1e-14)


def test_settings_name_what_no_other_method_shows() -> None:
    recipe = RECIPE.with_changes(averaging=0.99, frozen_after=[0.5], early_stopping=3)
    expected = {"averaging": "0.99", "early_stopping": "3", "frozen_after": "(0.5,)"}
    for name, adapter in adapters().items():
        assert adapter(built(name, recipe)).settings() == expected


def test_batches_of_given_examples_are_the_recipes(pair: tuple[Any, Any]) -> None:
    images = CHANCE.integers(0, 256, (1200, 28, 28, 1), np.uint8)
    labels = np.arange(1200) % 10
    for model in pair:
        epochs = model.batches_of(images, labels, 2)
        assert [[len(y) for _, y in epoch] for epoch in epochs] == [[500, 500, 200]] * 2
        for epoch in epochs:
            seen = np.concatenate([x for x, _ in epoch])
            assert sorted(map(bytes, seen)) == sorted(map(bytes, images))
        assert np.any(epochs[0][0][1] != epochs[1][0][1])


def test_the_torch_workflow_can_be_built_in_float64() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        module, loss, optimizer, extras = built("torch", RECIPE)(0)
        module.double()
        x, y = extras["prepare"](X, Y)
        module.train()
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        expected = Reference(built("numpy")).steps([(X, Y)] * 2)
        for exact in expected[0]:
            value = loss(module(x), torch.from_numpy(y))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            assert value.dtype == torch.float64
            assert value.item() == pytest.approx(exact, abs=1e-13)
        moved = dict(module.named_buffers())["layers.batch_norm_1.0.running_var"].numpy()
    finally:
        torch.set_default_dtype(before)
    exact = expected[1][-1]["batch_norm_1/moving_variance"]
    np.testing.assert_allclose(moved, exact, rtol=0, atol=1e-12)


def test_the_keras_workflow_can_be_built_in_float64() -> None:
    import keras

    make = built("keras", RECIPE)
    make(0)  # Its module says that Keras computes in float32, once.
    keras.config.set_floatx("float64")
    try:
        model, extras = make(0)
        x, _ = extras["prepare"](X, Y)
        logits = np.asarray(keras.ops.convert_to_numpy(model(x)))
        floats = [each for each in model.variables if "seed" not in each.path]
        assert {variable.dtype for variable in floats} == {"float64"}
        rate = np.asarray(model.optimizer._learning_rate(7))
    finally:
        keras.config.set_floatx("float32")
    exact = Reference(built("numpy")).outputs(X, False, 1)[0]
    # TensorFlow itself has the slope of a leaky relu in float32.
    np.testing.assert_allclose(logits, exact, rtol=0, atol=1e-7)
    assert rate == pytest.approx(0.001 * (8 / 111) / 0.25, rel=1e-14)
