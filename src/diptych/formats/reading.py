"""Shared code of the readers of all formats: limits on the network, names, and the described
network."""

import math
import re
from pathlib import Path
from typing import Any

from diptych.errors import InputError
from diptych.formats.archives import LARGEST
from diptych.layers import Activate, AveragePool, BatchNorm, Conv, Dense, Dropout, MaxPool
from diptych.network import Network, Weights


def check_size(network: Network, path: Path) -> None:
    """Raises InputError where a network is so large that it cannot be meant."""
    if 4 * network.parameters > LARGEST:
        raise InputError(
            f"{path.name}: {network.parameters:,} parameters; expected up to {LARGEST // 4:,}"
        )
    for layer, _, after in network.steps():
        if math.prod(after) > LARGEST // 64:
            raise InputError(
                f"{path.name}: layer {layer.name} makes {math.prod(after):,} numbers of an image; "
                f"expected up to {LARGEST // 64:,}"
            )


def layer_name(name: str, taken: set[str]) -> str:
    """The name in letters, digits and underscores, different from those that are taken."""
    base = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    base = base if re.match("[A-Za-z]", base) else f"layer_{base}".rstrip("_")
    number, unique = 2, base
    while unique in taken:
        unique, number = f"{base}_{number}", number + 1
    return unique


def as_described(
    network: Network, weights: Weights, about: dict[str, Any], training: bool = False
) -> tuple[Network, Weights]:
    """The network that an export of ours describes, if it computes the same as what was read.

    A file's layers may have other names, and a graph for inference has no dropout and no momentum.

    Args:
        network: the network as it was read.
        weights: its weights.
        about: what the file says of itself.
        training: whether the file says how to train as well.

    Returns:
        The described network and its weights; where there is none, or it computes something else,
        those that were read.
    """
    if not isinstance(about.get("network"), dict):
        return network, weights
    try:
        described = Network.from_dict(about["network"])
    except InputError:
        return network, weights
    if _computation(described, training) != _computation(network, training):
        return network, weights
    # Both have the same weights in the same order, by other names.
    names = zip(described.weight_shapes(), network.weight_shapes(), strict=True)
    return described, {ours: weights[theirs] for ours, theirs in names}


def _computation(network: Network, training: bool) -> list[Any]:
    """The computation of a network, independent of its description."""
    steps: list[Any] = [network.input_shape]
    for layer, before, _ in network.steps():
        if isinstance(layer, Dropout) and not training:
            continue
        settings = layer.model_dump(exclude={"name", "padding", "activation", "slope"})
        if isinstance(layer, BatchNorm) and not training:
            del settings["momentum"]
        if isinstance(layer, Conv | MaxPool | AveragePool):
            settings |= {"pads": layer.pads(before), "stride": layer.steps}
        if not isinstance(layer, Activate):
            steps.append(settings)
        if isinstance(layer, Conv | Dense | Activate) and layer.activation != "linear":
            steps.append((layer.activation, layer.slope))
    return steps
