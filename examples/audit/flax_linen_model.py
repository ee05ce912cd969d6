"""The network of keras_model.py in Flax Linen; `build` is all that an audit needs."""

# pyright: reportMissingImports=false

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

GLOROT = nn.initializers.glorot_uniform()  # Keras' initialiser, not Flax' own.


class Network(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for filters in (16, 32):
            x = nn.relu(nn.Conv(filters, (3, 3), kernel_init=GLOROT)(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.Dropout(0.25, deterministic=not train)(x.reshape(len(x), -1))
        return nn.Dense(10, kernel_init=GLOROT)(x)


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def build():
    network = Network()
    variables = network.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)), train=False)
    return network, loss, optax.sgd(0.05, momentum=0.9), {"variables": variables}
