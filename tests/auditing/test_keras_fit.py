"""The arguments of ``fit`` that a Keras side hands over: they take effect, or are said in words."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportOptionalMemberAccess=false

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras.optimizers import SGD, Adam
from keras_sides import numbers, side, unchanged

from diptych.auditing.frameworks.keras.adapter import Adapter
from diptych.errors import InputError


def model(optimizer: Any = "sgd", **extras: Any) -> Adapter:
    return side(
        lambda: keras.Input((2,)),
        lambda: layers.Dense(1, name="out", kernel_initializer="ones"),
        optimizer=optimizer,
        **extras,
    )


def test_sample_weights_count() -> None:
    weights = np.array([1.0, 0.0, 3.0, 0.5])
    plain, weighted = model(), model(fit={"sample_weight": weights})
    x, y = numbers(4, 2), numbers(4, 1)
    weighted.load(plain.parameters())
    outputs = plain.record(x, training=False)["out"]
    expected = np.mean(weights * np.mean((outputs - y) ** 2, axis=-1))
    assert weighted.loss(outputs, y) == pytest.approx(expected)
    loss, gradients = weighted.loss_and_gradients(x, y)
    assert loss == pytest.approx(expected)
    slope = np.mean(weights[:, None] * 2 * (outputs - y) * x, axis=0)
    np.testing.assert_allclose(gradients["out/kernel"][:, 0], slope, rtol=1e-5)
    assert weighted.steps([(x, y)])[0] == [pytest.approx(expected)]


class Shrinking(keras.callbacks.Callback):
    """Halves the kernel after each step, and the rate at each epoch's end."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert logs["loss"] > 0
        kernel = self.model.get_layer("out").kernel
        kernel.assign(kernel * 0.5)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.0


class Unfreezing(keras.callbacks.Callback):
    """Stops when nobody has measured what it asks for."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["val_loss"] < 1:
            raise AssertionError


def test_callbacks_act_in_steps() -> None:
    x, y = numbers(4, 2), numbers(4, 1)
    plain = model(lambda: SGD(0.1))
    one = plain.steps([(x, y)])[1][0]
    fit = {"callbacks": [Shrinking(), Unfreezing()], "steps_per_epoch": 2}
    adapter = model(lambda: SGD(0.1), fit=fit)
    before = adapter.parameters()
    for _ in range(2):
        after = adapter.steps([(x, y)] * 3)[1]
        np.testing.assert_allclose(after[0]["out/kernel"], one["out/kernel"] / 2, rtol=1e-5)
        # From the second epoch on nothing but the halving is left.
        np.testing.assert_allclose(after[2]["out/kernel"], after[1]["out/kernel"] / 2, rtol=1e-6)
        unchanged(adapter, before)
        assert float(adapter.model.optimizer.learning_rate) == pytest.approx(0.1)


def test_settings_are_what_nothing_else_shows() -> None:
    assert model().settings() == {}
    plain = {"batch_size": 4, "verbose": 0, "class_weight": {0: 1.0}, "initial_epoch": 0}
    assert model(fit=plain | {"validation_data": (1, 2)}).settings() == {}
    logging = keras.callbacks.CSVLogger("never-written.csv")
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    assert model(fit={"callbacks": [logging, scheduler]}).settings() == {}

    stopping = keras.callbacks.EarlyStopping(patience=3, monitor="val_loss")
    settings = model(
        lambda: Adam(0.1, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=40),
        fit={
            "epochs": 5,
            "callbacks": [stopping, Unfreezing()],
            "sample_weight": np.arange(4.0),
            "validation_freq": 2,
        },
    ).settings()
    assert settings.keys() == {
        *("epochs", "callbacks", "sample_weight", "validation_freq", "use_ema"),
        "gradient_accumulation_steps",
    }
    assert settings["epochs"] == "5"
    assert "EarlyStopping(" in settings["callbacks"]
    assert "patience=3" in settings["callbacks"]
    assert "Unfreezing(" in settings["callbacks"]
    assert "momentum 0.9" in settings["use_ema"]
    assert settings["gradient_accumulation_steps"] == "40"


def test_settings_tell_values_and_code_apart() -> None:
    def told(**fit: Any) -> str:
        return str(model(fit=fit).settings())

    def calling(act: Any) -> list[Any]:
        return [keras.callbacks.LambdaCallback(on_epoch_end=act)]

    def reduced(**options: Any) -> list[Any]:
        return [keras.callbacks.ReduceLROnPlateau(**options)]

    assert told(sample_weight=np.arange(4.0)) != told(sample_weight=np.arange(4.0)[::-1])
    same = [told(callbacks=calling(lambda epoch, logs: epoch + 1)) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != told(callbacks=calling(lambda epoch, logs: epoch + 2))
    assert told(callbacks=reduced(factor=0.5)) != told(callbacks=reduced(factor=0.1))
    assert told(callbacks=reduced(factor=0.5)) == told(callbacks=reduced(factor=0.5))


def test_arguments_that_shape_batches_are_said_where_the_users_function_makes_them() -> None:
    fit = {"shuffle": False, "batch_size": 4}
    assert model(fit=fit).settings() == {}
    settings = model(fit=fit, batches=lambda x, y: [(x, y)]).settings()
    assert settings == {"shuffle": "False", "batch_size": "4"}


def test_accumulation_and_averages_show_in_updates() -> None:
    gradient = {"out/kernel": np.ones((2, 1), np.float32)}
    adapter = model(lambda: SGD(1.0, gradient_accumulation_steps=3))
    path = [after["out/kernel"][0, 0] for after in adapter.updates([gradient] * 4)]
    assert path == pytest.approx([1.0, 1.0, 0.0, 0.0])
    averaged = model(lambda: SGD(1.0, use_ema=True, ema_momentum=0.75)).updates([gradient] * 2)
    assert averaged[1]["out/kernel"][0, 0] == pytest.approx(-1.0)
    # The first average is the weight itself, 0; then 0.75 of it and 0.25 of the next.
    assert averaged[1]["average:out/kernel"][0, 0] == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (
            {"class_weight": {0: 1.0}, "sample_weight": np.ones(3)},
            "holds class_weight and sample_weight: expected one of them",
        ),
        ({"class_weight": [1.0, 2.0]}, r"\['class_weight'\] is a list: expected a dict"),
        ({"callbacks": [print]}, "expected objects of keras.callbacks.Callback"),
        ({"patience": 3}, r"extras\['fit'\] holds patience"),
    ],
)
def test_arguments_that_fit_would_not_take(fit: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(fit=fit)
