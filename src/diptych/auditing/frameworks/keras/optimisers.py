"""Keras' optimisers: which of them step, and what they say of themselves."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportAttributeAccessIssue=false

from typing import Any

import keras

from diptych.auditing.frameworks.keras.arrays import to_array
from diptych.auditing.frameworks.keras.layer_classes import class_name, public_class

SETTINGS = {
    "beta_1": "beta_1",
    "beta_2": "beta_2",
    "rho": "rho",
    "epsilon": "epsilon",
    "momentum": "momentum",
    "nesterov": "nesterov",
    "amsgrad": "amsgrad",
    "centered": "centered",
    "initial_accumulator_value": "accumulator",
    "weight_decay": "weight_decay",
    "clipnorm": "clip_norm",
    "clipvalue": "clip_value",
    "global_clipnorm": "clip_global_norm",
}
"""Keras' names of settings, and the audit's."""


def optimisers(optimiser: Any) -> list[Any]:
    """The optimisers that have a learning rate: one, or those of a ``MultiOptimizer``."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    return list(getattr(inner, "optimizers", [inner]))


def words(optimiser: Any) -> dict[str, Any]:
    """What an optimiser says of itself; see the protocol's ``optimiser``."""
    inner = getattr(optimiser, "inner_optimizer", optimiser)
    kind = public_class(inner).__name__.lower()
    if hasattr(inner, "optimizers"):
        return {"kind": kind}  # It says nothing for itself.
    settings = {ours: getattr(inner, theirs, None) for theirs, ours in SETTINGS.items()}
    if not isinstance(inner._learning_rate, keras.Variable):
        settings["schedule"] = class_name(inner._learning_rate)
    return {"kind": kind, "learning_rate": float(to_array(inner.learning_rate))} | {
        name: value for name, value in settings.items() if value is not None
    }
