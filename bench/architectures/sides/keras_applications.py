"""Keras sides: networks of `keras.applications`, a Transformer encoder, a wide and deep model.

Each network has a second function, ``…_faulty``: the same with one fault deep inside.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

CLASSES, TOKENS, LENGTH = 4, 50, 12
SIDE = tuple[keras.Model, dict[str, Any]]
LOGITS = {"weights": None, "classes": CLASSES, "classifier_activation": None}


def classifier(model: keras.Model, size: int = 32) -> SIDE:
    """A side that learns classes of images, by SGD with momentum."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, size, size, 3)).astype("float32")
    return model, {"data": (x, generator.integers(0, CLASSES, 8))}


def with_fault(build: Callable[[], SIDE], layer: str, name: str, value: float) -> SIDE:
    """The side with one attribute of a layer set to another value."""
    side = build()
    faulty = side[0].get_layer(layer)
    if getattr(faulty, name) == value:
        raise ValueError(f"{layer}.{name} is {value!r} already: a fault needs another value")
    setattr(faulty, name, value)
    return side


def mobilenet_v2() -> SIDE:
    return classifier(keras.applications.MobileNetV2((32, 32, 3), **LOGITS))


def mobilenet_v2_faulty() -> SIDE:
    return with_fault(mobilenet_v2, "block_8_project_BN", "momentum", 0.9)


def efficientnet() -> SIDE:
    return classifier(keras.applications.EfficientNetB0(input_shape=(32, 32, 3), **LOGITS))


def efficientnet_faulty() -> SIDE:
    return with_fault(efficientnet, "block4b_bn", "epsilon", 1e-5)


def resnet50() -> SIDE:
    return classifier(keras.applications.ResNet50(input_shape=(32, 32, 3), **LOGITS))


def resnet50_faulty() -> SIDE:
    return with_fault(resnet50, "conv3_block2_2_bn", "momentum", 0.9)


def convnext() -> SIDE:
    return classifier(keras.applications.ConvNeXtTiny(input_shape=(32, 32, 3), **LOGITS))


def convnext_faulty() -> SIDE:
    name = "convnext_tiny_stage_2_block_4_layernorm"
    return with_fault(convnext, name, "epsilon", 1e-3)


def transformer(epsilon: float = 1e-6) -> SIDE:
    """One encoder block after normalisation, as Keras' example of text classification has it."""
    ids = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(TOKENS, 16)(ids)
    for last in (False, True):
        attended = layers.Dropout(0.1)(layers.MultiHeadAttention(2, 8)(x, x))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, attended]))
        hidden = layers.Dense(16)(layers.Dense(32, activation="relu")(x))
        added = layers.Add()([x, layers.Dropout(0.1)(hidden)])
        x = layers.LayerNormalization(epsilon=epsilon if last else 1e-6)(added)
    pooled = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(ids, layers.Dense(CLASSES)(pooled))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    generator = np.random.default_rng(0)
    data = generator.integers(0, TOKENS, (16, LENGTH)), generator.integers(0, CLASSES, 16)
    return model, {"data": data}


def transformer_faulty() -> SIDE:
    return transformer(epsilon=1e-3)


def wide_and_deep(bias: bool = True) -> SIDE:
    """A linear model and a deep one on two inputs, joined at the end."""
    wide, deep = keras.Input((5,), name="wide"), keras.Input((6,), name="deep")
    hidden = layers.Dense(8, activation="relu")(deep)
    hidden = layers.Dense(8, activation="relu", use_bias=bias)(hidden)
    model = keras.Model([wide, deep], layers.Dense(1)(layers.Concatenate()([wide, hidden])))
    model.compile("adam", "mse")
    generator = np.random.default_rng(0)
    of_wide, of_deep, y = (generator.normal(size=(16, n)).astype("float32") for n in (5, 6, 1))
    return model, {"data": ((of_wide, of_deep), y)}


def wide_and_deep_faulty() -> SIDE:
    return wide_and_deep(bias=False)
