"""Safetensors: the weights as every workflow here shares them, and the network in the metadata."""

import json
from importlib import metadata
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from diptych.errors import InputError
from diptych.formats.archives import embedded
from diptych.formats.protocol import Content, StoredNetwork
from diptych.formats.reading import check_size
from diptych.network import Network
from diptych.whole_files import read_arrays, write_arrays

KEY = "diptych"
"""In the metadata: `exporting.about` as JSON, the network among it."""
EXAMPLE = ""


def write(content: Content, path: Path) -> None:
    write_arrays(path, content.weights, **{KEY: json.dumps(content.about)})


def tool() -> str:
    return f"safetensors {metadata.version('safetensors')}"


def read(path: Path, network: Network | None = None) -> StoredNetwork:
    """As the protocol says; ``network`` is what the weights belong to where the file is silent."""
    try:
        with safe_open(path, framework="numpy") as file:
            about = embedded((file.metadata() or {}).get(KEY))
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{path.name} is not a whole safetensors file ({problem})") from None
    if network is None:
        if not isinstance(about.get("network"), dict):
            raise InputError(
                f"{path.name} holds weights alone and does not say of what network: "
                "give --network, a name in the zoo or a TOML file"
            )
        network = Network.from_dict(about["network"], f"in {path.name}")
    check_size(network, path)
    try:
        weights = read_arrays(path)
        network.check_weights(weights)
    except InputError as problem:
        raise InputError(f"{path.name}: {problem}") from None
    for name, value in weights.items():
        if value.dtype != np.float32:
            raise InputError(f"{path.name}: weights {name} are {value.dtype}, expected float32")
    return StoredNetwork(network, weights, about)
