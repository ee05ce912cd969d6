"""The model as its user calls it: compiled if ``fit`` compiles it, and nothing replaced."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from collections.abc import Callable
from typing import Any

import keras


def caller(model: keras.Model, training: bool) -> Callable[[Any], Any]:
    """A function that calls the model on a batch in Keras' layout, and gives its output.

    Its random numbers go on from call to call, and its moving averages change in training.
    """
    mode = {"training": training} if model._call_has_training_arg else {}

    def call(x: Any) -> Any:
        return model(x, **mode)

    backend = keras.config.backend()
    if backend == "torch":
        import torch

        called = torch.compile(call) if model.jit_compile and not model.run_eagerly else call

        def in_mode(x: Any) -> Any:
            model.train(training)
            return called(x)

        return in_mode
    if model.run_eagerly:
        return call
    if backend == "jax":
        return stateless(model, mode)
    import tensorflow as tf

    return tf.function(call, reduce_retracing=True, jit_compile=model.jit_compile, autograph=False)


def stateless(model: keras.Model, mode: dict[str, bool]) -> Callable[[Any], Any]:
    """As JAX's users have it: a function of the variables, jitted, that gives them back."""
    import jax

    def pure(trainable: Any, others: Any, x: Any) -> Any:
        return model.stateless_call(trainable, others, x, **mode)

    function = jax.jit(pure) if model.jit_compile else pure

    def call(x: Any) -> Any:
        trainable, others = model.trainable_variables, model.non_trainable_variables
        outputs, after = function([v.value for v in trainable], [v.value for v in others], x)
        for variable, value in zip(others, after, strict=True):
            variable.assign(value)
        return outputs

    return call
