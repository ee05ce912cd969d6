"""Keras 3.15.1 on PyTorch: `same` average pools with uneven padding count the image's edge twice.

Prints a pool's four outputs on the backend that is the argument: `tensorflow`, `jax` or `torch`.
The first two agree.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1]

import keras
import numpy as np

images = np.random.default_rng(0).normal(size=(1, 4, 4, 1)).astype("float32")
pooled = keras.layers.AveragePooling2D(3, 2, padding="same")(images)
print(keras.__version__, sys.argv[1], keras.ops.convert_to_numpy(pooled).ravel())
