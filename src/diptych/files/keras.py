"""Keras' own file: ``config.json`` for the layers and ``model.weights.h5``, zipped.

Writing takes Keras. Reading does not: a configuration is data, and what Keras would make of it
could run code. So layers are read as data, weights as arrays, and nothing else is looked at.
"""

import io
import json
import math
import re
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from diptych.errors import InputError
from diptych.files import EMBEDDED, Content, Found, in_batches
from diptych.files.reading import as_it_says, check_size, embedded, layer_name, unzipped
from diptych.network import Network, Weights

COMPRESSED = zipfile.ZIP_DEFLATED
EXAMPLE = """\
import keras

model = keras.saving.load_model("{file}")
logits = model.predict(images)
"""


# Out.


def write(content: Content, path: Path) -> None:
    whole = compiled(content)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        whole.save(saved)
        # Keras does not compress, and its optimiser's moments, all 0, are twice the weights.
        with zipfile.ZipFile(saved) as given, zipfile.ZipFile(path, "w", COMPRESSED) as file:
            for name in given.namelist():
                file.writestr(name, given.read(name))
            file.writestr(EMBEDDED, json.dumps(content.about))


def model(content: Content) -> Any:
    """The model that Keras' workflow builds, with these weights."""
    import keras

    from diptych.workflows.keras.model import build

    network = content.network
    built = build(network, seed=0)
    for layer in built.layers:
        layer.set_weights([content.weights[f"{layer.name}/{v.name}"] for v in layer.weights])
    kind = "uint8" if content.uint8_input else "float32"
    first: list[Any] = [keras.Input(network.input_shape, name="images", dtype=kind)]
    if content.uint8_input:
        first.append(keras.layers.Rescaling(1 / 255, name="pixels_to_unit"))
    return keras.Sequential([*first, *built.layers], name="network")


def compiled(content: Content) -> Any:
    """The model ready for `fit`, by its recipe but for a schedule of the learning rate."""
    import keras

    from diptych.recipe import Recipe

    whole = model(content)
    recipe = Recipe.from_dict(content.about["recipe"])
    whole.compile(
        keras.optimizers.Adam(
            recipe.learning_rate,
            beta_1=recipe.beta_1,
            beta_2=recipe.beta_2,
            epsilon=recipe.epsilon,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    whole.optimizer.build(whole.trainable_variables)
    return whole


def tool() -> str:
    import keras

    return f"Keras {keras.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    import keras

    loaded: Any = keras.saving.load_model(path, safe_mode=True)
    return np.concatenate([loaded.predict(some, verbose=0) for some in in_batches(images)])


# In.

# The classes of Keras that are known, as a part of the network or as what can be left out of it.
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
"""Settings that the network description has no words for, and their one value that it means."""
SOFTMAX = "softmax"


def read(path: Path) -> Found:
    config, about, stored = _unzipped(path)
    described = _layers(path, config)
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
        made = _layer(here, kind, settings, position == last)
        if made is None:  # A softmax at the end: the loss has it.
            continue
        made["name"] = layer_name(str(settings.get("name")), {each["name"] for each in layers})
        layers.append(made)
        number = counts[kind] - 1
        group = _snake_case(kind) + (f"_{number}" if number else "")
        sources.append((made["name"], group, kind, settings))
    if input_shape is None:
        raise InputError(
            f"{path.name} does not say what input it takes: build it, and save it again"
        )
    named = {"name": path.stem, "input_shape": input_shape, "layers": layers}
    network = Network.from_dict(named, f"in {path.name}")
    check_size(network, path)
    weights = _weights(path, network, sources, stored)
    return Found(*as_it_says(network, weights, about, training=True), about)


def _unzipped(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The configuration, what the file says of itself, and the weights as HDF5."""
    with unzipped(path) as file:
        names = set(file.namelist())
        try:
            config = json.loads(file.read("config.json"))
            about = embedded(file.read(EMBEDDED) if EMBEDDED in names else None)
            stored = file.read("model.weights.h5")
        except Exception as problem:  # zlib and zipfile have many ways to say it.
            what = str(problem).strip("'\"") or type(problem).__name__
            raise InputError(
                f"{path.name} is not a whole .keras file ({what}): save it again with "
                "model.save('model.keras')"
            ) from None
    return config, about, stored


def _layers(path: Path, config: Any) -> list[dict[str, Any]]:
    """The layers in the order in which they compute: those of a Sequential, or of one chain."""
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
            came_from = _histories(layer.get("inbound_nodes"))
            if came_from != ([] if previous is None else [previous]):
                name = layer["config"].get("name")
                raise InputError(
                    f"{path.name}: layer {name} takes {' and '.join(came_from) or 'an input'}; "
                    f"expected one layer after the other"
                )
            previous = str(layer["config"].get("name"))
    return layers


def _histories(nodes: Any) -> list[str]:
    """The names of the layers that a layer is called on, each time that it is."""
    if isinstance(nodes, dict):
        history = nodes.get("config", {}).get("keras_history") if "config" in nodes else None
        if isinstance(history, list) and history:
            return [str(history[0])]
        return _histories(list(nodes.values()))
    if isinstance(nodes, list):
        return [name for each in nodes for name in _histories(each)]
    return []


def _class_of(path: Path, described: Any) -> str:
    """The class of a layer or model, which has to be Keras' own: others come with code."""
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
    """The layer in the network's words, without its name; None for a softmax at the end."""
    made: dict[str, Any] = {"kind": LAYERS[kind]}
    match kind:
        case "Conv2D":
            made |= {"filters": settings.get("filters"), "kernel": settings.get("kernel_size")}
            made |= {"stride": settings.get("strides"), "padding": settings.get("padding")}
        case "MaxPooling2D" | "AveragePooling2D":
            made |= {"size": settings.get("pool_size"), "stride": settings.get("strides")}
            made |= {"padding": settings.get("padding")}
        case "Dropout":
            made["rate"] = settings.get("rate")
        case "Dense":
            made["units"] = settings.get("units")
        case "BatchNormalization":
            axis = settings.get("axis")
            if axis not in (-1, 3, 1, [-1], [3], [1]):
                raise InputError(f"{here}: axis = {axis!r}; expected the last one")
            made |= {"momentum": settings.get("momentum"), "epsilon": settings.get("epsilon")}
    function, slope = _activation(here, kind, settings)
    if function == SOFTMAX:
        if not last:
            raise InputError(f"{here}: softmax before the end; a network knows it as its end alone")
        if kind in ("Softmax", "Activation"):
            return None
        function = "linear"
    if function is not None:
        made["activation"] = function
    if slope is not None:
        made["slope"] = slope
    return made


def _activation(here: str, kind: str, settings: dict[str, Any]) -> tuple[str | None, float | None]:
    """The activation of a layer that has one, and its slope."""
    if kind in ("ReLU", "LeakyReLU", "ELU", "Softmax"):
        slope = settings.get("negative_slope") or (kind == "LeakyReLU" and settings.get("alpha"))
        if kind == "LeakyReLU" or slope:
            return "leaky_relu", float(slope) if isinstance(slope, int | float) else 0.0
        return kind.lower(), None
    if kind not in ("Conv2D", "Dense", "Activation"):
        return None, None
    given = settings.get("activation")
    if isinstance(given, dict):
        name = str(given.get("class_name"))
        if name in ("ReLU", "LeakyReLU", "ELU", "Softmax") and isinstance(
            given.get("config"), dict
        ):
            for key, expected in MUST_BE.get(name, {}).items():
                if given["config"].get(key, expected) != expected:
                    raise InputError(
                        f"{here}: activation {name} with {key} = {given['config'][key]!r}, but a "
                        f"network's description only has {expected!r}"
                    )
            return _activation(here, name, given["config"])
        given = given.get("config") if name == "function" else name
    given = "linear" if given is None else str(given)
    if given == "leaky_relu":
        return given, 0.2  # Keras' function has this slope; its layer has 0.3.
    if given not in ACTIVATIONS | {SOFTMAX}:
        raise InputError(
            f"{here}: activation {given}; a network's description knows "
            f"{', '.join(sorted(ACTIVATIONS))}, leaky_relu, and softmax at the end"
        )
    return given, None


def _weights(
    path: Path, network: Network, sources: list[tuple[str, str, str, dict[str, Any]]], stored: bytes
) -> Weights:
    """The weights of each layer, from where Keras keeps them: ``layers/conv2d_1/vars/0``."""
    import h5py

    shapes, weights = network.weight_shapes(), {}
    try:
        with h5py.File(io.BytesIO(stored), "r") as file:
            for layer, group, kind, settings in sources:
                number = 0
                for name, missing in _variables(kind, settings):
                    full = f"{layer}/{name}"
                    if missing is not None:  # Keras has none, and computes as if it were this.
                        weights[full] = np.full(shapes[full], missing, np.float32)
                        continue
                    place = f"layers/{group}/vars/{number}"
                    weights[full] = _array(path, file, place, shapes[full])
                    number += 1
    except InputError:
        raise
    except Exception as problem:  # HDF5 has no errors of its own that could be told apart.
        what = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise InputError(f"{path.name}: its weights cannot be read ({what})") from None
    return weights


def _variables(kind: str, settings: dict[str, Any]) -> list[tuple[str, float | None]]:
    """The weights of a layer in Keras' order, with their value where the layer has none."""
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
    """An array of an HDF5 file, followed through no link that leads elsewhere."""
    import h5py

    here: Any = file
    for part in place.split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{path.name}: weights {place} are not in it, as Keras keeps them")
        here = here[part]
    if not isinstance(here, h5py.Dataset) or here.external or here.is_virtual:
        raise InputError(f"{path.name}: weights {place} are not in the file itself")
    if here.shape != shape or here.dtype.kind != "f":
        raise InputError(
            f"{path.name}: weights {place} are {here.dtype} {here.shape}, expected numbers {shape}"
        )
    return np.ascontiguousarray(here[...], np.float32)


def _snake_case(name: str) -> str:
    """``Conv2D`` to ``conv2d``, ``BatchNormalization`` to ``batch_normalization``, as in Keras."""
    apart = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", apart).lower()


def _is_number(value: Any, expected: float) -> bool:
    return isinstance(value, int | float) and math.isclose(value, expected, rel_tol=1e-6)
