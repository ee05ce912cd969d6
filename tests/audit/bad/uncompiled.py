"""A Keras model that is not compiled, and one of images."""

import keras


def model() -> keras.Model:
    return keras.Sequential([keras.Input((13,)), keras.layers.Dense(1)])


def images() -> keras.Model:
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(10)]
    )
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network
