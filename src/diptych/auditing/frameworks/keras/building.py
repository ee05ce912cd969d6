"""Making a model ready to run: its weights, its input and output, its layers' names."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.defaults import IMAGE
from diptych.auditing.frameworks.keras.arrays import Shape
from diptych.auditing.frameworks.keras.holding import without_gradients
from diptych.auditing.frameworks.keras.trace import Call, walkable
from diptych.errors import InputError


def check_ends(model: keras.Model) -> None:
    """Checks that a model has one input and one output.

    Raises:
        InputError: it has more.
    """
    if not walkable(model):
        return
    for name, ends in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(ends) != 1:
            named = ", ".join(tensor.name for tensor in ends)
            raise InputError(
                f"the model {model.name} has {len(ends)} {name} ({named}): an audit is of "
                f"models with one; hand in a model with one of them"
            )


FREE = 32
"""The size of an axis whose size the model leaves free, where the user brings no data."""


def input_shape(model: keras.Model, extras: dict[str, Any]) -> Shape:
    """The input's shape as Keras has it, without the batch; that of the user's data where the model
    leaves a size free.

    Raises:
        InputError: the model does not say it, or the data have another number of axes.
    """
    shape = tuple((model.inputs[0].shape if walkable(model) else built_shape(model))[1:])
    if None not in shape:
        return shape
    if "data" not in extras:
        return tuple(FREE if size is None else size for size in shape)
    own = tuple(np.asarray(extras["data"][0]).shape[1:])
    if len(own) != len(shape):
        raise InputError(
            f"the model {model.name} takes inputs of shape {shape}, and data gives {own}: "
            "expected as many axes"
        )
    return tuple(size if free is None else free for size, free in zip(own, shape, strict=True))


def built_shape(model: keras.Model) -> tuple[Any, ...]:
    """The shape that a subclassed model was built with, the batch's size included."""
    config = model.get_build_config() or {}
    shape = config.get("input_shape") or next(iter(config.get("shapes_dict", {}).values()), ())
    if not shape or not all(size is None or isinstance(size, int) for size in shape):
        raise InputError(
            f"the model {model.name} does not say what it takes: an audit is of models "
            "with one input; call model.build((None, …)) with its shape, or give a keras.Input"
        )
    return tuple(shape)


def build_on_data(model: keras.Model, extras: dict[str, Any]) -> None:
    """Calls a model that has not been built with one of the user's examples.

    Raises:
        InputError: the user gives none.
    """
    if "data" in extras:
        x = np.asarray(extras["data"][0])[:1]
    elif "prepare" in extras:
        images = np.zeros((1, *IMAGE), np.uint8)
        x = np.asarray(extras["prepare"](images, np.zeros(1, np.int64))[0])
    else:
        raise InputError(
            f"the model {model.name} has not been built, so it has no weights yet: give "
            "it a keras.Input as its first layer, or call model.build((None, …))"
        )
    if isinstance(model, keras.Sequential):
        model.build((None, *x.shape[1:]))
    forward(model, x, training=False)


def forward(model: keras.Model, x: np.ndarray, training: bool) -> Any:
    """Calls a model as Keras' own training and prediction do."""
    if keras.config.backend() == "torch":
        model.train(training)
    with without_gradients():
        if model._call_has_training_arg:
            return model(x, training=training)
        return model(x)


def take_names(
    model: keras.Model, calls: list[Call], other: keras.Model, others_calls: list[Call]
) -> None:
    """Gives layers and variables the names that they have in another build of the model: Keras
    numbers those that the user has not named, and goes on counting.

    Raises:
        NotImplementedError: the other build is another network.
    """
    operations, others = ([call.operation for call in side] for side in (calls, others_calls))
    if [type(operation) for operation in operations] != [type(same) for same in others]:
        raise NotImplementedError(
            f"the function returned another network when it was called again: it has "
            f"{len(operations)} layers, and had {len(others)}"
        )
    for layer, same in [
        *zip(operations, others, strict=True),
        *zip(model._flatten_layers(), other._flatten_layers(), strict=False),
    ]:
        layer.name = same.name
    for weight, same in zip(model.weights, other.weights, strict=False):
        weight._path = same.path
