"""The network of keras_model.py as plain functions of JAX; `build` is all that an audit needs."""

# pyright: reportMissingImports=false

import jax
import jax.numpy as jnp
import optax
from jax import lax

Parameters = dict[str, dict[str, jax.Array]]
SHAPES = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 32), "dense": (7 * 7 * 32, 10)}


def initial(key: jax.Array) -> Parameters:
    draw = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(SHAPES))
    return {
        name: {"kernel": draw(key, shape), "bias": jnp.zeros(shape[-1])}
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def network(parameters: Parameters, x: jax.Array) -> jax.Array:
    """Takes images (n, 28, 28, 1); gives logits (n, 10)."""
    for name in ("conv1", "conv2"):
        layer, numbers = parameters[name], ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(x, layer["kernel"], (1, 1), "SAME", dimension_numbers=numbers)
        x = jax.nn.relu(x + layer["bias"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    dense = parameters["dense"]
    return x.reshape(len(x), -1) @ dense["kernel"] + dense["bias"]


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def build():
    parameters = initial(jax.random.key(0))
    return network, loss, optax.sgd(0.05, momentum=0.9), {"params": parameters}
