"""What the readers of files share: how large a file may be, what it says of itself, and names."""

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

from diptych.errors import InputError
from diptych.files import LARGEST
from diptych.network import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    MaxPool,
    Network,
    Weights,
)


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


def unzipped(path: Path, most: int | None = None) -> zipfile.ZipFile:
    """An archive that is not larger, unpacked, than a network can be.

    Args:
        path: the archive.
        most: bytes that it may hold, unpacked; `LARGEST` if not given.

    Raises:
        InputError: it is none, or it is larger.
    """
    most = most or LARGEST
    try:
        file = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise InputError(
            f"{path.name} is damaged, or not what its name says ({problem}): save it again"
        ) from None
    # What a member says of its size is the most that is read of it.
    size = sum(member.file_size for member in file.infolist())
    if size > most:
        raise InputError(
            f"{path.name} would be {size / 2**20:,.0f} MiB unpacked; expected up to {most // 2**20}"
        )
    for member in file.infolist():
        if member.filename.endswith(".json") and member.file_size > most // 16:
            raise InputError(
                f"{path.name}: {member.filename} would be {member.file_size / 2**20:,.0f} MiB "
                f"unpacked; expected up to {most // 16 // 2**20}"
            )
    return file


def embedded(text: bytes | str | None) -> dict[str, Any]:
    """What a file of ours says of itself; nothing where it says nothing that can be read."""
    try:
        said = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def layer_name(given: str, taken: set[str]) -> str:
    """The given name in letters, digits and underscores, another than those that are taken."""
    name = re.sub(r"\W+", "_", given, flags=re.ASCII).strip("_")
    name = name if re.match("[A-Za-z]", name) else f"layer_{name}".rstrip("_")
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def as_it_says(
    network: Network, weights: Weights, about: dict[str, Any], training: bool = False
) -> tuple[Network, Weights]:
    """The network that an export of ours names, with its weights, if it computes what was read.

    The file's own layers may have other names, and a graph for inference has no dropout and no
    momentum.

    Args:
        network: as it was read, with ``weights``.
        about: what the file says of itself.
        training: whether what was read says how to train as well.
    """
    if not isinstance(about.get("network"), dict):
        return network, weights
    try:
        said = Network.from_dict(about["network"])
    except InputError:
        return network, weights
    if _computed(said, training) != _computed(network, training):
        return network, weights
    # Both have the same weights in the same order, by other names.
    names = zip(said.weight_shapes(), network.weight_shapes(), strict=True)
    return said, {ours: weights[theirs] for ours, theirs in names}


def _computed(network: Network, training: bool) -> list[Any]:
    """What a network computes, however it is described."""
    steps: list[Any] = [network.input_shape]
    for layer, before, _ in network.steps():
        if isinstance(layer, Dropout) and not training:
            continue
        kept = layer.model_dump(exclude={"name", "padding", "activation", "slope"})
        if isinstance(layer, BatchNorm) and not training:
            del kept["momentum"]
        if isinstance(layer, Conv | MaxPool | AveragePool):
            kept |= {"pads": layer.pads(before), "stride": layer.steps}
        if not isinstance(layer, Activate):
            steps.append(kept)
        if isinstance(layer, Conv | Dense | Activate) and layer.activation != "linear":
            steps.append((layer.activation, layer.slope))
    return steps
