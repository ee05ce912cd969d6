"""A Keras model that is not compiled."""

import keras


def model() -> keras.Model:
    return keras.Sequential([keras.Input((13,)), keras.layers.Dense(1)])
