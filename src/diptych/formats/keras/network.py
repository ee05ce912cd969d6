"""A ``.keras`` file as a network and its weights, read without Keras.

A configuration is data, and what Keras would make of it could run code. So layers are read as data,
weights as arrays, and nothing else is looked at.
"""

import io
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import InputError
from diptych.formats.keras.archive import Archive, check_arrays, opened
from diptych.formats.protocol import StoredNetwork
from diptych.formats.reading import as_described, check_size, layer_name
from diptych.network import Network, Weights

ACTIVATIONS = {"relu", "elu", "gelu", "tanh", "linear"}
LAYERS = {
    "Conv2D": "conv",
    "MaxPooling2D": "max_pool",
    "AveragePooling2D": "average_pool",
    "Dropout": "dropout",
    "Flatten": "flatten",
    "Dense": "dense",
    "BatchNormalization": "batch_norm",
    "Activation": "activation",
    "ReLU": "activation",
    "LeakyReLU": "activation",
    "ELU": "activation",
    "Softmax": "activation",
}
MUST_BE: dict[str, dict[str, Any]] = {
    "Conv2D": {"dilation_rate": [1, 1], "groups": 1, "data_format": "channels_last"},
    "MaxPooling2D": {"data_format": "channels_last"},
    "AveragePooling2D": {"data_format": "channels_last"},
    "Flatten": {"data_format": "channels_last"},
    "Dropout": {"noise_shape": None},
    "Dense": {"lora_rank": None, "quantization_config": None},
    "BatchNormalization": {"renorm": False},
    "ReLU": {"max_value": None, "threshold": 0.0},
    "ELU": {"alpha": 1.0},
    "Softmax": {"axis": -1},
}
"""Settings that a network's description cannot express, and the one value that it stands for."""
SOFTMAX = "softmax"


def read(path: Path) -> StoredNetwork:
    """Reads a file, see `diptych.formats.protocol.FormatModule`."""
    archive = opened(path)
    described = _layers(path, archive.config)
    layers, sources, input_shape = [], [], None
    counts: Counter[str] = Counter()
    last = len(described) - 1
    for position, layer in enumerate(described):
        kind, settings = _class_of(path, layer), layer["config"]
        counts[kind] += 1
        here = f"{path.name}: layer {settings.get('name')} ({kind})"
        shape = settings.get("batch_shape") or settings.get("batch_input_shape")
        if input_shape is None and isinstance(shape, list):
            input_shape = shape[1:]
        if kind == "InputLayer":
            continue
        if kind == "Rescaling" and not layers:
            if not (_is_number(settings.get("scale"), 1 / 255) and settings.get("offset") == 0):
                raise InputError(
                    f"{here}: scale {settings.get('scale')!r} and offset "
                    f"{settings.get('offset')!r}; expected 1/255 and 0, as our images are scaled"
                )
            continue
        if kind not in LAYERS:
            raise InputError(
                f"{here}: a network's description has no such layer; it knows {', '.join(LAYERS)}"
            )
        for key, expected in MUST_BE.get(kind, {}).items():
            if settings.get(key, expected) != expected:
                raise InputError(
                    f"{here}: {key} = {settings[key]!r}, but a network's description only has "
                    f"{expected!r}"
                )
        description = _layer(here, kind, settings, position == last)
        if description is None:  # A softmax at the end belongs to the loss.
            continue
        name = layer_name(str(settings.get("name")), {layer["name"] for layer in layers})
        layers.append(description | {"name": name})
        number = counts[kind] - 1
        group = _snake_case(kind) + (f"_{number}" if number else "")
        sources.append((name, group, kind, settings))
    if input_shape is None:
        raise InputError(
            f"{path.name} does not say what input it takes: build it, and save it again"
        )
    named = {"name": path.stem, "input_shape": input_shape, "layers": layers}
    network = Network.from_dict(named, f"in {path.name}")
    check_size(network, path)
    weights = _weights(archive, network, sources)
    return StoredNetwork(
        *as_described(network, weights, archive.about, training=True), archive.about
    )


def _layers(path: Path, config: Any) -> list[dict[str, Any]]:
    """The layers of a `Sequential`, or of a functional model that is one chain, in order."""
    kind = _class_of(path, config)
    if kind not in ("Sequential", "Functional", "Model"):
        raise InputError(
            f"{path.name} holds a {kind}, whose layers only its code knows; expected a Sequential, "
            "or a functional model of one layer after the other"
        )
    layers = config["config"].get("layers")
    if not isinstance(layers, list) or not layers:
        raise InputError(f"{path.name}: its model has no layers")
    previous = None
    for layer in layers:
        _class_of(path, layer)
        if kind != "Sequential":
            sources = _histories(layer.get("inbound_nodes"))
            if sources != ([] if previous is None else [previous]):
                name = layer["config"].get("name")
                raise InputError(
                    f"{path.name}: layer {name} takes {' and '.join(sources) or 'an input'}; "
                    f"expected one layer after the other"
                )
            previous = str(layer["config"].get("name"))
    return layers


def _histories(nodes: Any) -> list[str]:
    """The names of the layers whose outputs a layer is called with, in all of its calls."""
    if isinstance(nodes, dict):
        history = nodes.get("config", {}).get("keras_history") if "config" in nodes else None
        if isinstance(history, list) and history:
            return [str(history[0])]
        return _histories(list(nodes.values()))
    if isinstance(nodes, list):
        return [name for node in nodes for name in _histories(node)]
    return []


def _class_of(path: Path, described: Any) -> str:
    """The class of a layer or model, which must be one of Keras' own: others come with code."""
    if not isinstance(described, dict) or not isinstance(described.get("config"), dict):
        raise InputError(f"{path.name}: its config.json does not describe a model of Keras")
    kind, module = str(described.get("class_name")), str(described.get("module"))
    if module.split(".")[0] != "keras" or ">" in str(described.get("registered_name")):
        raise InputError(
            f"{path.name}: layer {described['config'].get('name')} is a {kind} of {module}; "
            "expected Keras' own layers alone, since no code is run from a file"
        )
    return kind


def _layer(here: str, kind: str, settings: dict[str, Any], last: bool) -> dict[str, Any] | None:
    """The layer as a network describes it, without its name; None for a softmax at the end."""
    description: dict[str, Any] = {"kind": LAYERS[kind]}
    match kind:
        case "Conv2D":
            description |= {
                "filters": settings.get("filters"),
                "kernel": settings.get("kernel_size"),
            }
            description |= {"stride": settings.get("strides"), "padding": settings.get("padding")}
        case "MaxPooling2D" | "AveragePooling2D":
            description |= {"size": settings.get("pool_size"), "stride": settings.get("strides")}
            description |= {"padding": settings.get("padding")}
        case "Dropout":
            description["rate"] = settings.get("rate")
        case "Dense":
            description["units"] = settings.get("units")
        case "BatchNormalization":
            axis = settings.get("axis")
            if axis not in (-1, 3, 1, [-1], [3], [1]):
                raise InputError(f"{here}: axis = {axis!r}; expected the last one")
            description |= {
                "momentum": settings.get("momentum"),
                "epsilon": settings.get("epsilon"),
            }
    function, slope = _activation(here, kind, settings)
    if function == SOFTMAX:
        if not last:
            raise InputError(f"{here}: softmax before the end; a network can only end with it")
        if kind in ("Softmax", "Activation"):
            return None
        function = "linear"
    if function is not None:
        description["activation"] = function
    if slope is not None:
        description["slope"] = slope
    return description


def _activation(here: str, kind: str, settings: dict[str, Any]) -> tuple[str | None, float | None]:
    """The activation of a layer that has one, and its slope."""
    if kind in ("ReLU", "LeakyReLU", "ELU", "Softmax"):
        slope = settings.get("negative_slope") or (kind == "LeakyReLU" and settings.get("alpha"))
        if kind == "LeakyReLU" or slope:
            return "leaky_relu", float(slope) if isinstance(slope, int | float) else 0.0
        return kind.lower(), None
    if kind not in ("Conv2D", "Dense", "Activation"):
        return None, None
    value = settings.get("activation")
    if isinstance(value, dict):
        name, config = str(value.get("class_name")), value.get("config")
        if name in ("ReLU", "LeakyReLU", "ELU", "Softmax") and isinstance(config, dict):
            for key, expected in MUST_BE.get(name, {}).items():
                if config.get(key, expected) != expected:
                    raise InputError(
                        f"{here}: activation {name} with {key} = {config[key]!r}, but a "
                        f"network's description only has {expected!r}"
                    )
            return _activation(here, name, config)
        value = config if name == "function" else name
    function = "linear" if value is None else str(value)
    if function == "leaky_relu":
        return function, 0.2  # Keras' function has this slope; its layer has 0.3.
    if function not in ACTIVATIONS | {SOFTMAX}:
        raise InputError(
            f"{here}: activation {function}; a network's description knows "
            f"{', '.join(sorted(ACTIVATIONS))}, leaky_relu, and softmax at the end"
        )
    return function, None


def _weights(
    archive: Archive, network: Network, sources: list[tuple[str, str, str, dict[str, Any]]]
) -> Weights:
    """The weights of each layer, from where Keras keeps them: ``layers/conv2d_1/vars/0``."""
    check_arrays(archive)
    import h5py

    path, shapes, weights = archive.path, network.weight_shapes(), {}
    try:
        with h5py.File(io.BytesIO(archive.weights), "r") as file:
            for layer, group, kind, settings in sources:
                number = 0
                for name, missing in _variables(kind, settings):
                    full = f"{layer}/{name}"
                    if missing is not None:  # Keras has none, and computes as with this value.
                        weights[full] = np.full(shapes[full], missing, np.float32)
                        continue
                    place = f"layers/{group}/vars/{number}"
                    weights[full] = _array(path, file, place, shapes[full])
                    number += 1
    except InputError:
        raise
    except Exception as problem:  # HDF5 raises many kinds.
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise InputError(f"{path.name}: its weights cannot be read ({reason})") from None
    return weights


def _variables(kind: str, settings: dict[str, Any]) -> list[tuple[str, float | None]]:
    """The weights of a layer in Keras' order, and for those that it lacks their constant value."""
    if kind in ("Conv2D", "Dense"):
        return [("kernel", None), ("bias", None if settings.get("use_bias", True) else 0.0)]
    if kind == "BatchNormalization":
        return [
            ("gamma", None if settings.get("scale", True) else 1.0),
            ("beta", None if settings.get("center", True) else 0.0),
            ("moving_mean", None),
            ("moving_variance", None),
        ]
    return []


def _array(path: Path, file: Any, place: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of an HDF5 file in which `check_arrays` has found nothing that leads elsewhere."""
    import h5py

    array = file.get(place)
    if not isinstance(array, h5py.Dataset):
        raise InputError(f"{path.name}: weights {place} are not in it, as Keras keeps them")
    if array.shape != shape or array.dtype.kind != "f":
        raise InputError(
            f"{path.name}: weights {place} are {array.dtype} {array.shape}, expected numbers "
            f"{shape}"
        )
    return np.ascontiguousarray(array[...], np.float32)


def _snake_case(name: str) -> str:
    """``Conv2D`` to ``conv2d``, ``BatchNormalization`` to ``batch_normalization``, as in Keras."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _is_number(value: Any, expected: float) -> bool:
    return isinstance(value, int | float) and math.isclose(value, expected, rel_tol=1e-6)
