"""Keras 3.15.1 on JAX 0.10.2: the slope of a leaky rectifier at exactly zero is 1.

On TensorFlow and PyTorch it is the negative side's, here 0.1. Biases start at zero, so a blank
background gives exact zeros in the first step.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras

slope = jax.grad(lambda x: keras.ops.leaky_relu(x, 0.1).sum())(jnp.zeros(1))
print(keras.__version__, jax.__version__, slope)
