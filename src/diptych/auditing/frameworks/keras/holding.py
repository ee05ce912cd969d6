"""Holding a model still while it is looked at: what is changed for the time is put back."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

import keras
import numpy as np

from diptych.auditing.frameworks.keras.arrays import to_array
from diptych.auditing.frameworks.keras.layer_classes import AUGMENTATIONS, RANDOM


@contextmanager
def shadowed(thing: Any, attribute: str, value: Any) -> Iterator[None]:
    """Gives an object another attribute for the time, unnoticed by the framework's tracking."""
    own, missing = vars(thing), object()
    before = own.get(attribute, missing)
    own[attribute] = value
    try:
        yield
    finally:
        if before is missing:
            del own[attribute]
        else:
            own[attribute] = before


def without_gradients() -> AbstractContextManager[Any]:
    """Allows to change variables and to copy arrays; only PyTorch must be told so."""
    if keras.config.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


@contextmanager
def restored(variables: list[Any]) -> Iterator[None]:
    """Puts the variables' values back in the end."""
    values = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    try:
        yield
    finally:
        with without_gradients():
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)


@contextmanager
def without_dropout(model: keras.Model) -> Iterator[None]:
    """Drops nothing for the time, however deep in the model. Normal noise that a layer's code draws
    by itself, as a variational autoencoder does, is zero. Noise outside of all layers, such as on
    the examples of a user's ``train_step``, stays."""
    with ExitStack() as stack:
        for module in noise_modules():
            stack.enter_context(shadowed(module, "normal", still(module.normal)))
        for layer in model._flatten_layers():
            for kind, attributes in RANDOM.items():
                for attribute in attributes if isinstance(layer, kind) else ():
                    stack.enter_context(shadowed(layer, attribute, 0.0))
            if isinstance(layer, AUGMENTATIONS):
                stack.enter_context(shadowed(layer, "call", passing_on(layer)))
        yield


def passing_on(layer: keras.Layer) -> Callable[..., Any]:
    """A layer's call as it is in inference."""
    call = layer.call

    @wraps(call)
    def still(data: Any, training: bool = True) -> Any:
        return call(data, training=False)

    return still


def noise_modules() -> list[Any]:
    """The modules whose ``normal`` a user's code draws noise by."""
    modules: list[Any] = [keras.random]
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        modules.append(tf.random)
    return modules


def still(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A function that draws normal numbers; in a layer's call, times zero."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        numbers = draw(*args, **kwargs)
        return numbers * 0 if _is_in_a_call() else numbers

    return drawn


def _is_in_a_call() -> bool:
    """True if a layer or a model is being called."""
    call = inspect.unwrap(keras.Layer.__call__).__code__
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code is call:
            return True
        frame = frame.f_back
    return False


@contextmanager
def eagerly(model: keras.Model) -> Iterator[None]:
    """Runs training steps as they are written, uncompiled, so that values can be looked at."""
    compiled, before = model.run_eagerly, model.train_function
    model.run_eagerly, model.train_function = True, None
    with tensorflow_eagerly() if keras.config.backend() == "tensorflow" else nullcontext():
        try:
            yield
        finally:
            model.run_eagerly, model.train_function = compiled, before


@contextmanager
def tensorflow_eagerly() -> Iterator[None]:
    """Runs functions that the user has compiled uncompiled too."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def caught(model: keras.Model, gradients: dict[int, Any]) -> Iterator[None]:
    """Keeps the gradients that the optimiser would have applied, by the variable's ``id``."""

    def catch(grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        variables = trainable_variables or model.trainable_variables
        for gradient, variable in zip(grads, variables, strict=True):
            if gradient is not None:
                gradients[id(variable)] = to_array(gradient)

    with (
        shadowed(model.optimizer, "apply", catch),
        shadowed(model.optimizer, "scale_loss", lambda loss: loss),
    ):
        yield


def forget_gradients(model: keras.Model) -> None:
    """Clears the gradients that PyTorch keeps with its tensors: a user's own step may not."""
    if keras.config.backend() == "torch":
        for weight in model.weights:
            weight.value.grad = None
