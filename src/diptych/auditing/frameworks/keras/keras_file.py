"""Sides in ``.keras`` files, in float32 and in float64."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportOptionalMemberAccess=false

import json
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from diptych.auditing.frameworks.defaults import as_written
from diptych.auditing.frameworks.keras.optimisers import optimisers
from diptych.errors import InputError
from diptych.formats.archives import LARGEST
from diptych.formats.keras.archive import KerasFile, check_arrays, check_code, opened

FLOATS = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")
"""Types and policies for which a twin has float64."""


@dataclass(frozen=True)
class WideFile:
    """A ``.keras`` file as a function that builds its model in float64."""

    path: Path

    def __call__(self, seed: int = 0) -> Any:
        """Builds the model of a copy of the file that describes it in float64.

        Raises:
            InputError: the file is damaged or too large, or could run code.
        """
        archive = opened(self.path, 4 * LARGEST)
        check_code(self.path, archive.config)
        check_arrays(archive)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float64.keras"
            with zipfile.ZipFile(self.path) as file, zipfile.ZipFile(path, "w") as copy:
                for name in file.namelist():
                    if name != "config.json":
                        copy.writestr(name, file.read(name))
                copy.writestr("config.json", json.dumps(in_float64(archive.config)))
            try:
                model = keras.saving.load_model(path, safe_mode=True)
            except Exception as error:  # Keras raises many kinds on a broken file.
                reason = str(error).strip().split("\n")[0] or type(error).__name__
                raise InputError(f"{self.path} cannot be loaded: {reason[:300]}") from error
        write_rates_out(model)
        return model


def write_rates_out(model: Any) -> None:
    """Replaces constant learning rates by the number that was written; the file has it as a
    float32."""
    for optimiser in optimisers(model.optimizer) if model.compiled and model.optimizer else ():
        if isinstance(optimiser._learning_rate, keras.Variable):
            rate = float(keras.ops.convert_to_numpy(optimiser._learning_rate))
            optimiser._learning_rate.assign(as_written(rate))


FromFile = KerasFile | WideFile
"""Builds without code of the user's."""


def in_float64(config: Any) -> Any:
    """A file's description with float64 in place of each floating-point type and policy."""
    if isinstance(config, list):
        return [in_float64(part) for part in config]
    if not isinstance(config, dict):
        return config
    changed = {name: in_float64(part) for name, part in config.items()}
    policy = config.get("class_name") == "DTypePolicy"
    if policy and isinstance(inside := changed.get("config"), dict) and inside["name"] in FLOATS:
        inside["name"] = "float64"
    if isinstance(config.get("dtype"), str) and config["dtype"] in FLOATS:
        changed["dtype"] = "float64"
    return changed
