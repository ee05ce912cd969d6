"""The network in Keras: `Sequential` and its layers, and what it is compiled with."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

from functools import partial
from typing import Any, assert_never

import keras
from keras import layers

from diptych.layers import Activate, AveragePool, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from diptych.network import Network
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows.keras.layers import AveragePooling2D, LeakyReLU, Margins
from diptych.workflows.keras.optimiser import LastBatchAccuracy, LastBatchLoss, RateTable, adam

# Whatever the person's own keras.json says.
keras.config.set_floatx("float32")
keras.config.set_image_data_format("channels_last")


def build(
    network: Network, seed: int, precision: str = "float32", crops: bool = False
) -> keras.Sequential:
    """The network as a Keras model that outputs logits.

    Args:
        network: the description of its layers.
        seed: the seed of its dropout.
        precision: ``float32`` or ``bfloat16``.
        crops: whether it accepts cropped images as well as whole ones.
    """
    policy = "mixed_bfloat16" if precision == "bfloat16" else keras.config.floatx()
    shape = (None, None, network.input_shape[2]) if crops else network.input_shape
    model = keras.Sequential([keras.Input(shape)], name="network")
    for layer, before, _ in network.steps():
        common: dict[str, Any] = {"name": layer.name, "dtype": policy}
        match layer:
            case Conv():
                model.add(
                    layers.Conv2D(
                        layer.filters,
                        layer.kernel,
                        strides=layer.stride,
                        padding=layer.padding,
                        activation=activation(layer, policy),
                        **common,
                    )
                )
            case MaxPool():
                model.add(layers.MaxPooling2D(layer.size, layer.steps, layer.padding, **common))
            case AveragePool():
                pooling = layers.AveragePooling2D
                if layer.padding == "same" and keras.config.backend() == "torch":
                    pooling = partial(AveragePooling2D, layer)
                model.add(pooling(layer.size, layer.steps, layer.padding, **common))
            case Dropout():
                dropout_seed = int(generator(seed, f"dropout/{layer.name}").integers(2**31))
                model.add(layers.Dropout(layer.rate, seed=dropout_seed, **common))
            case Flatten():
                if crops and len(before) == 3:
                    model.add(Margins(before, name=f"{layer.name}.margins", dtype=policy))
                model.add(layers.Flatten(**common))
            case Dense():
                model.add(layers.Dense(layer.units, activation=activation(layer, policy), **common))
            case BatchNorm():
                model.add(
                    layers.BatchNormalization(
                        momentum=layer.momentum, epsilon=layer.epsilon, **common
                    )
                )
            case Activate():
                model.add(layers.Activation(activation(layer, policy), **common))
            case _:
                assert_never(layer)
    return model


def activation(layer: Conv | Dense | Activate, policy: str) -> str | keras.Layer:
    """Keras' name for the activation, or a layer if the activation has a parameter."""
    if layer.activation == "leaky_relu":
        leaky_relu = LeakyReLU if keras.config.backend() == "jax" else layers.LeakyReLU
        return leaky_relu(negative_slope=layer.slope, dtype=policy)
    return layer.activation


def compile(model: keras.Model, recipe: Recipe, learning_rate: float | RateTable) -> None:
    """Compiles a model for `fit` and ``train_on_batch``."""
    model.compile(
        optimizer=adam(recipe, learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy("accuracy"),
            LastBatchLoss("last_batch_loss", from_logits=True),
            LastBatchAccuracy("last_batch_accuracy"),
        ],
    )
