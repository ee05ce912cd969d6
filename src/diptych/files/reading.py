"""What the readers of files share: how large a file may be, what it says of itself, and names."""

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

from diptych.errors import InputError
from diptych.files import LARGEST
from diptych.network import Network


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


def unzipped(path: Path) -> zipfile.ZipFile:
    """An archive that is not larger, unpacked, than a network can be.

    Raises:
        InputError: it is none, or it is larger.
    """
    try:
        file = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise InputError(
            f"{path.name} is damaged, or not what its name says ({problem}): save it again"
        ) from None
    # What a member says of its size is the most that is read of it.
    size = sum(member.file_size for member in file.infolist())
    if size > LARGEST:
        raise InputError(
            f"{path.name} would be {size / 2**20:,.0f} MiB unpacked; expected up to "
            f"{LARGEST // 2**20}"
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
