"""The Keras half of each port; the PyTorch half is in `torch_ports.py`.

They are faithful: weights are drawn as PyTorch draws them, batch normalisation has PyTorch's
momentum and epsilon, and strided convolutions are padded on both sides. Some have a second
function, ``…_faulty``: the same with one fault deep inside.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.initializers import RandomNormal, RandomUniform

EXAMPLES, LENGTH, TOKENS, SEQUENCE_CLASSES, CLASSES = 12, 10, 50, 3, 4
SIDE = tuple[keras.Model, dict[str, Any]]


def uniform(fan_in: int) -> dict[str, RandomUniform]:
    """PyTorch's default initialisers of a kernel and a bias."""
    limit = 1 / math.sqrt(fan_in)
    return {
        "kernel_initializer": RandomUniform(-limit, limit),
        "bias_initializer": RandomUniform(-limit, limit),
    }


def dense(inputs: int, units: int, **settings: Any) -> layers.Dense:
    return layers.Dense(units, **uniform(inputs), **settings)


def compiled(model: keras.Model, data: tuple[np.ndarray, np.ndarray], rate: float) -> SIDE:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss)
    return model, {"data": data}


# Sequences.


def tokens(model: keras.Model) -> SIDE:
    """A side that learns a class for each sequence of tokens."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, TOKENS, (EXAMPLES, LENGTH))
    return compiled(model, (ids, generator.integers(0, SEQUENCE_CLASSES, EXAMPLES)), 0.1)


def embedding(size: int) -> layers.Embedding:
    return layers.Embedding(TOKENS, size, embeddings_initializer=RandomNormal(stddev=1.0))


def recurrent(layer: type[layers.Layer], dropout: float, bias: bool, **settings: Any) -> SIDE:
    settings |= uniform(16) | {"recurrent_initializer": RandomUniform(-0.25, 0.25)}
    ids = keras.Input((LENGTH,), dtype="int32")
    x = layer(16, return_sequences=True, **settings)(embedding(12)(ids))
    x = layer(16, **settings)(layers.Dropout(dropout)(x))
    x = dense(16, 16, activation="tanh", use_bias=bias)(x)
    return tokens(keras.Model(ids, dense(16, SEQUENCE_CLASSES)(x)))


def lstm(dropout: float = 0.2) -> SIDE:
    return recurrent(layers.LSTM, dropout, True, unit_forget_bias=False)


def lstm_faulty() -> SIDE:
    return lstm(dropout=0.3)


def gru(bias: bool = True) -> SIDE:
    return recurrent(layers.GRU, 0.2, bias)


def gru_faulty() -> SIDE:
    return gru(bias=False)


class Positions(layers.Layer):
    """Adds a learnt vector to each position."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.table = self.add_weight(shape=shape[1:], initializer="zeros", name="table")

    def call(self, x: Any) -> Any:
        return x + self.table


def transformer() -> SIDE:
    ids = keras.Input((LENGTH,), dtype="int32")
    x = Positions()(embedding(16)(ids))
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-5)(x)
        attention = layers.MultiHeadAttention(
            2, 8, dropout=0.1, kernel_initializer=RandomUniform(-0.25, 0.25)
        )
        x = x + layers.Dropout(0.1)(attention(normed, normed))
        hidden = layers.LayerNormalization(epsilon=1e-5)(x)
        hidden = layers.Dropout(0.1)(dense(16, 32, activation="gelu")(hidden))
        x = x + layers.Dropout(0.1)(dense(32, 16)(hidden))
    pooled = layers.GlobalAveragePooling1D()(x)
    return tokens(keras.Model(ids, dense(16, SEQUENCE_CLASSES)(pooled)))


# Images.


def images(model: keras.Model, size: int = 32) -> SIDE:
    """A side that learns classes of images; they are those of the other side, channels last."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 3, size, size)).astype("float32").transpose(0, 2, 3, 1)
    return compiled(model, (x, generator.integers(0, CLASSES, 8)), 0.01)


def normalised(x: Any, momentum: float = 0.9) -> Any:
    return layers.BatchNormalization(momentum=momentum, epsilon=1e-5)(x)


def convolution(x: Any, filters: int, size: int, stride: int = 1, depthwise: bool = False) -> Any:
    """Padded on both sides and normalised, without a bias; drawn by the number of outputs."""
    filters = x.shape[-1] if depthwise else filters
    drawn = RandomNormal(stddev=math.sqrt(2 / (filters * size * size)))
    if size > 1:
        x = layers.ZeroPadding2D(size // 2)(x)
    if depthwise:
        layer: layers.Layer = layers.DepthwiseConv2D(
            size, stride, use_bias=False, depthwise_initializer=drawn
        )
    else:
        layer = layers.Conv2D(filters, size, stride, use_bias=False, kernel_initializer=drawn)
    return normalised(layer(x))


def resnet18() -> SIDE:
    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(convolution(image, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for filters, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            shortcut = x
            hidden = layers.ReLU()(convolution(x, filters, 3, stride))
            hidden = convolution(hidden, filters, 3)
            if stride != 1:
                shortcut = convolution(x, filters, 1, stride)
            x = layers.ReLU()(layers.Add()([hidden, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return images(keras.Model(image, dense(512, CLASSES)(x)))


WIDENINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Of MobileNetV2 (Sandler et al. 2018, table 2): expansion, filters, blocks, first stride."""


def mobilenet_v2() -> SIDE:
    image = keras.Input((32, 32, 3))
    x = layers.ReLU(6.0)(convolution(image, 32, 3, 2))
    for expansion, filters, count, first in WIDENINGS:
        for number in range(count):
            stride, hidden = (first if number == 0 else 1), x
            if expansion != 1:
                hidden = layers.ReLU(6.0)(convolution(hidden, expansion * x.shape[-1], 1))
            hidden = layers.ReLU(6.0)(convolution(hidden, 0, 3, stride, depthwise=True))
            hidden = convolution(hidden, filters, 1)
            joined = stride == 1 and x.shape[-1] == filters
            x = layers.Add()([x, hidden]) if joined else hidden
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(convolution(x, 1280, 1)))
    head = layers.Dense(CLASSES, kernel_initializer=RandomNormal(stddev=0.01))
    return images(keras.Model(image, head(layers.Dropout(0.2)(x))))


def block(x: Any, filters: int, momentum: float = 0.9) -> Any:
    """Two convolutions, each with batch normalisation and ReLU."""
    for _ in range(2):
        layer = layers.Conv2D(filters, 3, padding="same", **uniform(9 * x.shape[-1]))
        x = layers.ReLU()(normalised(layer(x), momentum))
    return x


def unet(momentum: float = 0.9) -> SIDE:
    image = keras.Input((16, 16, 3))
    first = block(image, 8)
    second = block(layers.MaxPooling2D()(first), 16)
    bottom = layers.Dropout(0.3)(block(layers.MaxPooling2D()(second), 32))
    raised = layers.Conv2DTranspose(16, 2, strides=2, **uniform(4 * 16))(bottom)
    x = block(layers.Concatenate()([second, raised]), 16, momentum)
    raised = layers.Conv2DTranspose(8, 2, strides=2, **uniform(4 * 8))(x)
    x = block(layers.Concatenate()([first, raised]), 8)
    model = keras.Model(image, layers.Conv2D(CLASSES, 1, **uniform(8))(x))
    pixels = np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype("float32")
    y = np.random.default_rng(1).integers(0, CLASSES, (8, 16, 16))
    return compiled(model, (pixels.transpose(0, 2, 3, 1), y), 0.01)


def unet_faulty() -> SIDE:
    return unet(momentum=0.99)
