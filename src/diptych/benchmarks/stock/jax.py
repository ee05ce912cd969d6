"""Stock JAX: a dictionary of weights, ``lax`` convolutions, optax, a ``jax.jit`` a batch."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

Params = dict[str, tuple[Array, Array]]

SHAPES = {
    "conv_1": (3, 3, 1, 64),
    "conv_2": (3, 3, 64, 64),
    "conv_3": (3, 3, 64, 32),
    "conv_4": (3, 3, 32, 32),
    "dense_1": (1568, 256),
    "dense_2": (256, 10),
}


def initial(key: Array) -> Params:
    """Kernel and bias of each layer of the article's network."""
    glorot = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(SHAPES))
    return {
        name: (glorot(key, shape), jnp.zeros(shape[-1]))
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def conv(x: Array, kernel: Array, bias: Array) -> Array:
    order = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)
    return jax.nn.relu(x + bias)


def max_pool(x: Array) -> Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def dropout(x: Array, rate: float, key: Array) -> Array:
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def forward(params: Params, x: Array, key: Array) -> Array:
    keys = jax.random.split(key, 3)
    x = max_pool(conv(conv(x, *params["conv_1"]), *params["conv_2"]))
    x = dropout(x, 0.25, keys[0])
    x = max_pool(conv(conv(x, *params["conv_3"]), *params["conv_4"]))
    x = dropout(x, 0.25, keys[1])
    kernel, bias = params["dense_1"]
    x = dropout(jax.nn.relu(x.reshape(len(x), -1) @ kernel + bias), 0.5, keys[2])
    kernel, bias = params["dense_2"]
    return x @ kernel + bias


def seconds_a_step(images: np.ndarray, labels: np.ndarray, batch_size: int, warm_up: int) -> float:
    optimizer = optax.adam(1e-3)
    key, params = jax.random.key(1), initial(jax.random.key(0))
    state = optimizer.init(params)

    def loss_of(params: Params, x: Array, y: Array, key: Array) -> Array:
        logits = forward(params, x, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    @jax.jit
    def train_step(params, state, x, y, key):
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y, key)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    x, y = images.astype("float32") / 255, labels.astype("int32")
    order = np.random.default_rng(0).permutation(len(x))
    steps, start, loss = len(x) // batch_size, 0.0, jnp.zeros(())
    for step in range(steps):
        if step == warm_up:
            jax.block_until_ready(params)
            start = time.perf_counter()
        here = order[step * batch_size : (step + 1) * batch_size]
        key, now = jax.random.split(key)
        params, state, loss = train_step(params, state, x[here], y[here], now)
    jax.block_until_ready((params, loss))  # The last step has ended.
    return (time.perf_counter() - start) / (steps - warm_up)
