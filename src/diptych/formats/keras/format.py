"""Keras' own file, written and compared with its run by Keras."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from diptych.formats.archives import EMBEDDED
from diptych.formats.keras.network import read
from diptych.formats.protocol import Content, in_batches

__all__ = ["EXAMPLE", "logits", "read", "tool", "write"]

COMPRESSED = zipfile.ZIP_DEFLATED
EXAMPLE = """\
import keras

model = keras.saving.load_model("{file}")
logits = model.predict(images)
"""


def write(content: Content, path: Path) -> None:
    trainable = compiled(content)
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        trainable.save(saved)
        # Keras does not compress, and its optimiser's moments, all 0, are twice the weights.
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w", COMPRESSED) as file:
            for name in source.namelist():
                file.writestr(name, source.read(name))
            file.writestr(EMBEDDED, json.dumps(content.about))


def model(content: Content) -> Any:
    """The model that the Keras workflow builds, with these weights."""
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
    """The model compiled by its recipe, except that the learning rate stays constant."""
    import keras

    from diptych.recipe import Recipe

    trainable = model(content)
    recipe = Recipe.from_dict(content.about["recipe"])
    trainable.compile(
        keras.optimizers.Adam(
            recipe.learning_rate,
            beta_1=recipe.beta_1,
            beta_2=recipe.beta_2,
            epsilon=recipe.epsilon,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    trainable.optimizer.build(trainable.trainable_variables)
    return trainable


def tool() -> str:
    import keras

    return f"Keras {keras.__version__}"


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    import keras

    loaded: Any = keras.saving.load_model(path, safe_mode=True)
    return np.concatenate([loaded.predict(some, verbose=0) for some in in_batches(images)])
