"""The networks, weights and workflows that the tests of workflows go through."""

import numpy as np

from diptych import zoo
from diptych.network import Network, Weights

SMALL = {
    # Odd sizes, odd pads, overlapping windows, and every activation that no zoo network has.
    "geometry": [
        {"kind": "conv", "filters": 3, "kernel": 3, "stride": 2, "padding": "same"}
        | {"activation": "elu"},
        {"kind": "average_pool", "size": 3, "stride": 2, "padding": "same"},
        {"kind": "conv", "filters": 4, "kernel": [2, 3], "padding": "valid", "activation": "gelu"},
        {"kind": "max_pool", "size": [3, 2], "stride": [2, 1], "padding": "same"},
        {"kind": "flatten"},
        {"kind": "dense", "units": 12, "activation": "tanh"},
        {"kind": "activation", "activation": "leaky_relu", "slope": 0.2},
        {"kind": "dense", "units": 10},
    ],
    "normalised": [
        {"kind": "conv", "filters": 4, "kernel": 3, "stride": 2, "padding": "valid"},
        {"kind": "batch_norm", "momentum": 0.9},
        {"kind": "activation", "activation": "relu"},
        {"kind": "max_pool", "size": 3, "stride": 2},
        {"kind": "flatten"},
        {"kind": "dense", "units": 16},
        {"kind": "batch_norm", "momentum": 0.5, "epsilon": 0.01},
        {"kind": "activation", "activation": "tanh"},
        {"kind": "dense", "units": 10},
    ],
}


def small_network(name: str) -> Network:
    return Network.from_dict({"name": name, "input_shape": [28, 28, 1], "layers": SMALL[name]})


def network_named(name: str) -> Network:
    """A small network or one of the zoo, without its dropout, which differs between workflows."""
    network = small_network(name) if name in SMALL else Network.load(name)
    return network.with_dropout_scaled(0)


NETWORKS = (*SMALL, *zoo.names("networks"))


def lively_weights(network: Network, seed: int = 0) -> Weights:
    """Initial weights with biases, scales and averages that are neither 0 nor 1."""
    chance, weights = np.random.default_rng(seed), network.initial_weights(seed)
    for name, value in weights.items():
        if not name.endswith("/kernel"):
            weights[name] = (value + chance.uniform(-0.2, 0.2, value.shape)).astype(np.float32)
    return weights
