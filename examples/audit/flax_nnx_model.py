"""The network of keras_model.py in Flax NNX; `build` is all that an audit needs."""

# pyright: reportMissingImports=false

import jax
import optax
from flax import nnx

GLOROT = nnx.initializers.glorot_uniform()  # Keras' initialiser, not Flax' own.


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 16, (3, 3), kernel_init=GLOROT, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), kernel_init=GLOROT, rngs=rngs)
        self.dropout = nnx.Dropout(0.25, rngs=rngs)
        self.dense = nnx.Linear(7 * 7 * 32, 10, kernel_init=GLOROT, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), strides=(2, 2))
        return self.dense(self.dropout(x.reshape(len(x), -1)))


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def build():
    return Network(nnx.Rngs(0)), loss, optax.sgd(0.05, momentum=0.9)
