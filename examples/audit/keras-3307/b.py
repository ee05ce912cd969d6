"""The same network with the weights of another library, whose convolution turned kernels round."""

import keras
from a import network, weights


def build() -> keras.Model:
    kernel, *others = weights()
    model = network()
    model.set_weights([kernel[::-1, ::-1], *others])
    return model
