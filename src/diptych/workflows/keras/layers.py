"""Layers that Keras has otherwise, or not on every backend."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

from typing import Any

import keras
from keras import layers

from diptych.layers import AveragePool, Shape, margins


class Margins(layers.Layer):
    """Zeros around the features of a cropped image, up to the shape that is expected."""

    def __init__(self, expected: Shape, **common: Any) -> None:
        super().__init__(**common)
        self.expected = expected

    def call(self, inputs):
        given = keras.ops.shape(inputs)[1:]
        return keras.ops.pad(inputs, [(0, 0), *margins(self.expected, given)])

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((None, *self.expected), inputs.dtype)


class AveragePooling2D(layers.AveragePooling2D):
    """With padding ``same`` on PyTorch: where one side gets a pixel more than the other, Keras 3.15
    repeats the image's edge there and counts it. Here no padding counts, as on other backends."""

    def __init__(self, layer: AveragePool, *arguments: Any, **common: Any) -> None:
        super().__init__(*arguments, **common)
        self.layer = layer

    def call(self, inputs):
        def sums(x):
            pads = [(0, 0), *self.layer.pads(inputs.shape[1:]), (0, 0)]
            return keras.ops.average_pool(keras.ops.pad(x, pads), self.pool_size, self.strides)

        return sums(inputs) / sums(keras.ops.ones_like(inputs[:1]))


class LeakyReLU(layers.LeakyReLU):
    """On JAX, whose own has a slope of 1 at exactly zero, where blank background starts; on other
    backends the slope there is the negative side's."""

    def call(self, inputs):
        return keras.ops.where(inputs > 0, inputs, inputs * self.negative_slope)
