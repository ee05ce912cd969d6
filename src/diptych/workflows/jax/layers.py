"""The layers in JAX: pure functions of what they are given."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from diptych.layers import Activate, AveragePool, BatchNorm, Conv, Dense, Dropout, MaxPool

# By default JAX multiplies in less than float32 where the hardware is faster so.
jax.config.update("jax_default_matmul_precision", "highest")

Params = dict[str, Array]
"""Weights by their names, float32."""


def at_least_float32(dtype: Any) -> Any:
    """The type in which sums of such numbers are taken: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


def activate(layer: Conv | Dense | Activate, x: Array) -> Array:
    match layer.activation:
        case "relu":
            return jax.nn.relu(x)
        case "leaky_relu":  # jax.nn's has a slope of 1 at zero, others the layer's.
            return jnp.where(x > 0, x, x * (layer.slope or 0.0))
        case "elu":
            return jax.nn.elu(x)
        case "gelu":
            return jax.nn.gelu(x, approximate=False)
        case "tanh":
            return jnp.tanh(x)
    return x


def convolve(layer: Conv, x: Array, kernel: Array) -> Array:
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, layer.steps, layer.padding.upper(), dimension_numbers=order
    )


def max_pool(layer: MaxPool, x: Array) -> Array:
    window, steps = (1, *layer.window, 1), (1, *layer.steps, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, layer.padding.upper())


def average_pool(layer: AveragePool, x: Array) -> Array:
    """The padding does not count."""

    def total(values: Array) -> Array:
        window, steps = (1, *layer.window, 1), (1, *layer.steps, 1)
        return lax.reduce_window(values, 0.0, lax.add, window, steps, layer.padding.upper())

    return total(x) / total(jnp.ones_like(x[:1, :, :, :1]))


def drop(layer: Dropout, x: Array, key: Array) -> Array:
    """Zeroes each value with the layer's probability and scales the others up."""
    kept = jax.random.bernoulli(key, 1 - layer.rate, x.shape)
    return jnp.where(kept, x / (1 - layer.rate), 0)


def batch_norm(layer: BatchNorm, x: Array, params: Params, training: bool) -> tuple[Array, Params]:
    """In float32 or more; also gives the new moving averages, which are the old ones at inference.

    The variance is that of the batch, divided by its size.
    """
    gamma, beta, *averages = (
        params[f"{layer.name}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    x32, (mean, variance) = x.astype(at_least_float32(x.dtype)), averages
    if training:
        axes, kept = tuple(range(x.ndim - 1)), layer.momentum
        mean, variance = x32.mean(axes), x32.var(axes)
        averages = [
            old * kept + new * (1 - kept)
            for old, new in zip(averages, (mean, variance), strict=True)
        ]
    x32 = (x32 - mean) * lax.rsqrt(variance + layer.epsilon) * gamma + beta
    names = (f"{layer.name}/moving_mean", f"{layer.name}/moving_variance")
    return x32.astype(x.dtype), dict(zip(names, averages, strict=True))
