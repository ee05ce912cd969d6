"""The targets that a compiled model's loss takes."""

from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.defaults import may_be_drawn
from diptych.auditing.frameworks.keras.arrays import Shape
from diptych.auditing.frameworks.keras.layer_classes import class_name
from diptych.auditing.frameworks.packing import OWN
from diptych.auditing.frameworks.users import worded

TARGETS = {
    "sparsecategoricalcrossentropy": "classes",
    "categoricalcrossentropy": "one_hot",
    "categoricalfocalcrossentropy": "one_hot",
    "categoricalhinge": "one_hot",
    "binarycrossentropy": "binary",
    "binaryfocalcrossentropy": "binary",
    "hinge": "binary",
    "squaredhinge": "binary",
    "meansquarederror": "values",
    "mse": "values",
    "meanabsoluteerror": "values",
    "mae": "values",
    "meanabsolutepercentageerror": "values",
    "meansquaredlogarithmicerror": "values",
    "cosinesimilarity": "values",
    "huber": "values",
    "logcosh": "values",
    "poisson": "values",
}
"""The targets of Keras' losses, by their names or classes, without capitals and underscores."""


def words(loss: Any) -> str:
    """A compiled model's loss as its user made it."""
    loss = getattr(loss, "user", loss)
    if isinstance(loss, str):
        return loss
    if isinstance(loss, dict):
        return ", ".join(f"{name}: {words(part)}" for name, part in loss.items())
    if isinstance(loss, list | tuple):
        return ", ".join(map(words, loss))
    if isinstance(loss, keras.losses.Loss):
        config = loss.get_config()
        return worded(loss, {k: v for k, v in config.items() if k not in ("name", "dtype")})
    return worded(loss, {}) if callable(loss) else ""


def loss_targets(loss: Any, output_shape: Shape, own: np.ndarray | None = None) -> str:
    """The targets that a compiled model's loss takes.

    Args:
        loss: as it was given to ``compile``.
        output_shape: of the model's output for one example.
        own: the user's own targets, which say what a loss takes that is not Keras'.
    """
    if targets := getattr(loss, "targets", None):
        return str(targets)
    while isinstance(loss, dict | list | tuple) and len(loss) == 1:
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if isinstance(loss, str):
        names = [class_name(keras.losses.get(loss))]
    elif isinstance(loss, keras.losses.Loss):
        names = [cls.__name__ for cls in type(loss).__mro__]
    else:
        names = [class_name(loss)]
    if any(name.lower().replace("_", "") == "kldivergence" for name in names):
        return "one_hot" if own is None else OWN  # Distributions, of which zeros are clipped.
    known = [TARGETS.get(name.lower().replace("_", "")) for name in names]
    classes = output_shape[-1] if output_shape else 1
    if own is not None and not any(known):
        return _told_by(own, output_shape)
    targets = next(filter(None, known), "classes" if classes > 1 else "values")
    return "one_hot" if targets == "binary" and classes > 1 else targets


def _told_by(y: np.ndarray, output_shape: Shape) -> str:
    """The kind of targets that an unknown loss takes, by those that it is given."""
    if may_be_drawn(y, output_shape):
        return "values"
    long = [[n for n in shape if n != 1] for shape in (y.shape[1:], output_shape[:-1])]
    labels = long[0] == long[1] and output_shape[-1] > 1 and np.array_equal(y, np.rint(y))
    return "classes" if labels else OWN
