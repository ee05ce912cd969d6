"""Public reports of two frameworks that differ: the half in Keras."""

from typing import Any

import keras
import numpy as np
from keras import layers

SIDE = tuple[keras.Model, dict[str, Any]]
CLASSES = 10


def compiled(model: keras.Model, optimizer: Any, shape: tuple[int, ...]) -> SIDE:
    """The side; its images are those of the other half, channels last."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    generator = np.random.default_rng(0)
    x = np.moveaxis(generator.normal(size=(8, *shape)).astype("float32"), 1, -1)
    return model, {"data": (x, generator.integers(0, CLASSES, 8))}


def pytorch_170016() -> SIDE:
    """A convolution of 384 channels, of which the report says that PyTorch computes another."""
    image = keras.Input((13, 13, 384))
    drawn = keras.initializers.RandomNormal(stddev=1.0)
    settings: dict[str, Any] = {"kernel_initializer": drawn, "bias_initializer": drawn}
    x = layers.Conv2D(256, 3, padding="same", **settings)(image)
    x = layers.GlobalAveragePooling2D()(x)
    head = layers.Dense(CLASSES, use_bias=False, kernel_initializer=drawn)
    return compiled(keras.Model(image, head(x)), keras.optimizers.SGD(0.01), (384, 13, 13))


def benchopt_30() -> SIDE:
    """A residual block as TensorFlow's solver had it: strides padded on one side, Glorot's
    initialiser, weight decay that is decoupled from the gradient."""
    image = keras.Input((16, 16, 3))

    def normalised(x: Any, filters: int, stride: int) -> Any:
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    x = layers.ReLU()(normalised(image, 8, 1))
    hidden = normalised(layers.ReLU()(normalised(x, 16, 2)), 16, 1)
    shortcut = layers.Conv2D(16, 1, 2, use_bias=False)(x)
    shortcut = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(shortcut)
    x = layers.ReLU()(layers.Add()([hidden, shortcut]))
    model = keras.Model(image, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))
    sgd = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4)
    return compiled(model, sgd, (3, 16, 16))
