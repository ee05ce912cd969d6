"""The network in JAX: pure functions of a dictionary of weights, and the loss's gradient."""

from functools import partial
from typing import assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from diptych.layers import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    margins,
)
from diptych.network import Network
from diptych.workflows.jax.layers import (
    Params,
    activate,
    at_least_float32,
    average_pool,
    batch_norm,
    convolve,
    drop,
    max_pool,
)


def forward(
    network: Network,
    dtype: str,
    params: Params,
    images: Array | np.ndarray,
    key: Array | None = None,
) -> tuple[dict[str, Array], Params]:
    """Applies all layers to uint8 images (batch, height, width, channels); with a key, in training.

    Returns:
        Each layer's output by its name, and the new moving averages of batch normalisation.
    """
    wide = at_least_float32(dtype)
    x = (jnp.asarray(images, wide) * wide.type(1 / 255)).astype(dtype)
    outputs: dict[str, Array] = {}
    moving: Params = {}
    for number, (layer, before, _) in enumerate(network.steps()):
        match layer:
            case Conv():
                kernel, bias = read(params, layer, dtype)
                x = activate(layer, convolve(layer, x, kernel) + bias)
            case MaxPool():
                x = max_pool(layer, x)
            case AveragePool():
                x = average_pool(layer, x)
            case Dropout():
                if key is not None and layer.rate:
                    x = drop(layer, x, jax.random.fold_in(key, number))
            case Flatten():
                x = jnp.pad(x, [(0, 0), *margins(before, x.shape[1:])])  # for a cropped image
                x = x.reshape(len(x), -1)
            case Dense():
                kernel, bias = read(params, layer, dtype)
                x = activate(layer, x @ kernel + bias)
            case BatchNorm():
                x, new = batch_norm(layer, x, params, training=key is not None)
                moving |= new
            case Activate():
                x = activate(layer, x)
            case _:
                assert_never(layer)
        outputs[layer.name] = x
    return outputs, moving


def read(params: Params, layer: Conv | Dense, dtype: str) -> tuple[Array, Array]:
    """The layer's kernel and bias, in the precision that they are computed with."""
    kernel, bias = (params[f"{layer.name}/{name}"].astype(dtype) for name in ("kernel", "bias"))
    return kernel, bias


@partial(jax.jit, static_argnums=(0, 1))
def predict(network: Network, dtype: str, params: Params, images: Array | np.ndarray) -> Array:
    """The logits at inference, float32 (batch, classes)."""
    outputs, _ = forward(network, dtype, params, images)
    return outputs[network.layers[-1].name].astype(jnp.float32)


def loss_of(
    trained: Params,
    moving: Params,
    network: Network,
    dtype: str,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    key: Array,
    padded: bool = False,
) -> tuple[Array, tuple[Array, Params]]:
    """Mean loss of one batch in training; and its accuracy, and the new moving averages.

    Where the batch is padded, rows whose label is negative do not count.
    """
    outputs, moving = forward(network, dtype, trained | moving, images, key)
    logits = outputs[network.layers[-1].name]
    logits = logits.astype(at_least_float32(logits.dtype))
    if padded:
        counts = jnp.asarray(labels) >= 0
        here = jnp.where(counts, labels, 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, here)
        hits = logits.argmax(axis=1) == labels
        return losses.mean(where=counts), (jnp.mean(hits, where=counts), moving)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (jnp.mean(logits.argmax(axis=1) == labels), moving)


@partial(jax.jit, static_argnums=(2, 3), static_argnames=("padded",))
def gradients_of(
    trained: Params,
    moving: Params,
    network: Network,
    dtype: str,
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    key: Array,
    padded: bool = False,
) -> tuple[tuple[Array, tuple[Array, Params]], Params]:
    """The result of `loss_of`, and the gradients of the loss."""
    return jax.value_and_grad(loss_of, has_aux=True)(
        trained, moving, network, dtype, images, labels, key, padded
    )
