"""The network of keras_model.py in Equinox; `build` is all that an audit needs."""

# pyright: reportMissingImports=false

import equinox as eqx
import jax
import jax.numpy as jnp
import optax


class Network(eqx.Module):
    """Takes one image (1, 28, 28); an audit calls it by `jax.vmap`."""

    layers: list

    def __init__(self, key: jax.Array) -> None:
        keys = jax.random.split(key, 3)
        layers = [
            eqx.nn.Conv2d(1, 16, 3, padding=1, key=keys[0]),
            jax.nn.relu,
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(16, 32, 3, padding=1, key=keys[1]),
            jax.nn.relu,
            eqx.nn.MaxPool2d(2, 2),
            jnp.ravel,
            eqx.nn.Dropout(0.25),
            eqx.nn.Linear(7 * 7 * 32, 10, key=keys[2]),
        ]
        self.layers = [glorot(layer, key) for layer in layers]

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        for layer in self.layers:
            x = layer(x, key=key) if isinstance(layer, eqx.nn.Dropout) else layer(x)
        return x


def glorot(layer, key: jax.Array):
    """The layer with Keras' initialisers, not Equinox' own."""
    if not isinstance(layer, eqx.nn.Conv2d | eqx.nn.Linear):
        return layer
    draw = jax.nn.initializers.glorot_uniform(in_axis=1, out_axis=0)
    new = draw(jax.random.fold_in(key, layer.weight.size), layer.weight.shape)
    return eqx.tree_at(
        lambda layer: (layer.weight, layer.bias), layer, (new, jnp.zeros_like(layer.bias))
    )


def loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def build():
    return Network(jax.random.key(0)), loss, optax.sgd(0.05, momentum=0.9)
