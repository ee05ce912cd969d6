"""Keras 3.15.1 on TensorFlow 2.21.0: the rows of a repeated token are squared one by one.

An embedding's gradient comes as one row for each token. An optimiser that divides by a root of
squared gradients squares these rows and adds up the squares, instead of adding up the rows of a
token first. The dense gradient of the same layer gives another step.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

TOKENS = np.array([[1, 1, 1, 1, 2]])
OPTIMIZERS = {
    "Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "RMSprop": lambda: keras.optimizers.RMSprop(0.1),
    "Adadelta": lambda: keras.optimizers.Adadelta(0.1),
    "SGD": lambda: keras.optimizers.SGD(0.1),
}


def step(optimizer: keras.Optimizer, dense: bool) -> np.ndarray:
    """How far one step moves the rows of tokens 1 and 2."""
    layer = keras.layers.Embedding(3, 1, embeddings_initializer="zeros")
    layer.build()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(TOKENS))
    gradient = tape.gradient(loss, layer.trainable_variables[0].value)
    if dense:
        gradient = tf.convert_to_tensor(gradient)
    optimizer.apply([gradient], layer.trainable_variables)
    return layer.get_weights()[0].ravel()[1:]


for name, make in OPTIMIZERS.items():
    rows, whole = step(make(), dense=False), step(make(), dense=True)
    print(f"{name}: token 1, four times: {rows[0]:.6f}, by a dense gradient {whole[0]:.6f}")
    print(f"{name}: token 2, once: {rows[1]:.6f}, by a dense gradient {whole[1]:.6f}")
