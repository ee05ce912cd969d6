"""Keras' optimisers: which of them step, and what they say of themselves."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportAttributeAccessIssue=false

import inspect
from collections.abc import Callable
from typing import Any

import keras

from diptych.auditing.frameworks.keras.arrays import to_array
from diptych.auditing.frameworks.keras.layer_classes import class_name, public_class
from diptych.auditing.frameworks.users import is_users

SETTINGS = {
    "beta_1": "beta_1",
    "beta_2": "beta_2",
    "rho": "rho",
    "epsilon": "epsilon",
    "momentum": "momentum",
    "nesterov": "nesterov",
    "initial_accumulator_value": "accumulator",
    "weight_decay": "weight_decay",
    "clipnorm": "clip_norm",
    "clipvalue": "clip_value",
    "global_clipnorm": "clip_global_norm",
}
"""Keras' names of settings, and the audit's."""
VARIANTS = ("amsgrad", "centered")
"""Flags that change the kind of optimiser; they are reported if set."""


def optimisers(optimiser: Any) -> list[Any]:
    """The optimisers that have a learning rate: one, or those of a ``MultiOptimizer``."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    return list(getattr(inner, "optimizers", [inner]))


def has_users_code(optimiser: Any) -> bool:
    """True where the user has written any of what runs in an optimiser's step: the optimiser, its
    schedule, or a parameter's constraint."""
    constraints = [variable.constraint for variable in optimiser._trainable_variables]
    schedules = [inner._learning_rate for inner in optimisers(optimiser)]
    things = [optimiser, *optimisers(optimiser), *schedules, *constraints]
    return any(is_users(inspect.getfile(type(thing))) for thing in things if thing is not None)


def step_of(model: keras.Model) -> Callable[[list[Any]], None]:
    """The step of a model's optimiser on the gradients of its trained variables.

    On TensorFlow it is compiled, as it is in ``fit``, unless there is code of the user's in it,
    which is to be seen at work.
    """
    trained = model.trainable_variables

    def step(gradients: list[Any]) -> None:
        model.optimizer.apply(gradients, trained)

    if keras.config.backend() != "tensorflow" or model.run_eagerly:
        return step
    if has_users_code(model.optimizer):
        return step
    import tensorflow as tf

    return tf.function(step, autograph=False)


def words(optimiser: Any) -> dict[str, Any]:
    """The settings that an optimiser reports; see the protocol's ``optimiser``."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    kind = public_class(inner).__name__.lower()
    if hasattr(inner, "optimizers"):
        return {"kind": kind}  # It says nothing for itself.
    settings = {ours: getattr(inner, theirs, None) for theirs, ours in SETTINGS.items()}
    settings |= {name: getattr(inner, name, None) or None for name in VARIANTS}
    if not isinstance(inner._learning_rate, keras.Variable):
        settings["schedule"] = class_name(inner._learning_rate)
    return {"kind": kind, "learning_rate": float(to_array(inner.learning_rate))} | {
        name: value for name, value in settings.items() if value is not None
    }
