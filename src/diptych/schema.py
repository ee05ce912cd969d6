"""The keys that others rely on in a run's JSON files, and the kinds of their values.

Files may have been changed by hand or come from elsewhere, so they are checked when they are read.
"""

from pathlib import Path
from typing import Any

from diptych.errors import InputError

SCHEMA = 1

DESCRIPTION = {
    "status": str,
    "created": str,
    "workflow": str,
    "seed": int,
    "checkpoint_every": int | None,
    "network": dict,
    "recipe": dict,
    "data": dict,
    "machine": dict,
    "versions": dict,
}
DATA = {"name": str, "source": str, "fingerprint": str, "class_names": list}
RESULT = {
    "test_accuracy": float,
    "test_correct": int,
    "test_images": int,
    "validation_accuracy": float,
    "epochs": int,
    "train_seconds": float,
    "start_seconds": float,
    "images_per_second": float,
    "peak_memory_mib": float,
}


def check_keys(path: Path, value: Any, kinds: dict[str, Any]) -> None:
    """Raises InputError unless each key is there and its value is of its kind."""
    for key, kind in kinds.items():
        if not isinstance(value, dict) or not isinstance(value.get(key), kind):
            raise InputError(f"{path}: {key} is missing or damaged")
